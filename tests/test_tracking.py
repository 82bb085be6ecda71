"""tracked_run: the status of a run that a signal meets at its begin or end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import training
from records import query

from runback.record import manifest

MEETS = """
import os, sys
from pathlib import Path
import mlflow
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from runback.tracking import tracked_run

def met(verb):
    as_it_is = getattr(SqlAlchemyStore, verb)

    def interrupted(store, *given, **more):
        done = as_it_is(store, *given, **more) if verb == "create_run" else None
        if verb == at:
            os.kill(os.getpid(), number)
        return done or as_it_is(store, *given, **more)

    setattr(SqlAlchemyStore, verb, interrupted)

met("create_run")
met("update_run_info")
for number in map(int, sys.argv[1:]):
    for at in ("create_run", "update_run_info"):
        for first in (0, number):
            try:
                with tracked_run(Path.cwd(), "e"):
                    if first:
                        os.kill(os.getpid(), first)
                print("went on")
            except (KeyboardInterrupt, SystemExit) as error:
                print(error.args)
"""


def test_status_is_honest_whenever_signals_come(tmp_path: Path, template: Path) -> None:
    store = training.make(tmp_path / "s", template)
    done = store.train(MEETS, str(int(signal.SIGINT)), str(int(signal.SIGTERM)))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "()\n" * 4 + "(143,)\n" * 4
    statuses = query(store.database, "SELECT status FROM runs ORDER BY start_time")
    # A run that had come to its end is what it was, and its script hears of the signal after that.
    assert statuses == [("KILLED",), ("KILLED",), ("FINISHED",), ("KILLED",)] * 2


ENDS = """
import os, sys
from pathlib import Path
from runback.capture.recording import Recording
from runback.tracking import tracked_run

close = Recording.close

def met(recording, how):
    for number in map(int, sys.argv[1:]):
        os.kill(os.getpid(), number)
    close(recording, how)

Recording.close = met
with tracked_run(Path.cwd(), "e"):
    pass
"""


@pytest.mark.parametrize(
    ("numbers", "status", "is_final"),
    [
        ([signal.SIGTERM], -signal.SIGTERM, True),
        ([signal.SIGINT], 0, True),
        ([signal.SIGINT] * 2, 0, False),
    ],
)
def test_signal_lets_the_record_be_completed_after_the_run(
    tmp_path: Path, template: Path, numbers: list[int], status: int, is_final: bool
) -> None:
    """Ctrl-C twice does not: somebody insists."""
    store = training.make(tmp_path / "s", template)
    done = store.train(ENDS, *(str(int(number)) for number in numbers))
    assert (done.returncode, done.stderr.count("Traceback")) == (status, 0), done.stderr
    ((run_id, run_status),) = store.runs().items()
    assert run_status == "FINISHED"
    assert manifest.is_final(manifest.read(store.record(run_id), run_id)) == is_final
    store.index()
    assert manifest.is_final(manifest.read(store.record(run_id), run_id))
