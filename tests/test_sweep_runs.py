"""sweep.py as it is started: its runs, after a kill, Ctrl-C and an end; their replays."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, copy_project, plain_environ
from processes import Started
from records import query

# In the place of train_mlflow.py: tracked as that is, without a framework.
TRAINING = """\
import dataclasses, random, sys, time
from pathlib import Path

import train
from runback.sweep.pruning import Pruning
from runback.terminal import ended
from runback.tracking import tracked_run


def main() -> None:
    config = train.configure(sys.argv[1:])
    with tracked_run(train.PROJECT, experiment=config.dataset):
        import mlflow

        mlflow.log_params(dataclasses.asdict(config))
        random.seed(config.seed)
        pruning = Pruning()
        for epoch in range(config.epochs):
            while epoch and Path("hold").exists():
                time.sleep(0.05)
            value = config.filters + epoch - config.dropout + random.random()
            mlflow.log_metric("val_accuracy", value, step=epoch)
            if pruning.is_due(epoch, {"val_accuracy": value}):
                break


sys.exit(ended(main))
"""
SEARCH = """\
search:
  filters: {low: 1, high: 64}
  dropout: {low: 0, high: 0.5, step: 0.05}
"""


@dataclass(frozen=True)
class Place:
    """A copy of the project whose training takes no time, or waits for `hold` to be gone."""

    root: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start sweep.py, with three epochs unless the words say how many."""
        given = [] if "--" in words else ["--", "--epochs", "3"]
        return self._start("sweep.py", *words, *given)

    def sweep(self, *words: str) -> tuple[int, str]:
        return self._ended(self.start(*words))

    def runback(self, *words: str) -> tuple[int, str]:
        return self._ended(self._start("-m", "runback", *words))

    def _start(self, *words: str) -> subprocess.Popen[str]:
        return Started(
            [sys.executable, *words],
            cwd=self.root,
            env=plain_environ(PYTHONPATH=str(self.root)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _ended(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        out, _ = process.communicate(timeout=300)
        return process.returncode, out

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return query(self.root / "mlflow.db", sql, *values)

    def execute(self, sql: str) -> None:
        with contextlib.closing(sqlite3.connect(self.root / "mlflow.db")) as connection:
            connection.execute(sql)
            connection.commit()

    def runs(self) -> dict[str, list[str]]:
        """Return the statuses of the runs, by name, that are no replays, in their order."""
        found: dict[str, list[str]] = {}
        sql = "SELECT name, status FROM runs WHERE run_uuid NOT IN"
        sql += " (SELECT run_uuid FROM tags WHERE key = 'runback.replay_of') ORDER BY start_time"
        for name, status in self.query(sql):
            found.setdefault(name, []).append(status)
        return found

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of the run of this name that began last and is no replay."""
        sql = "SELECT run_uuid FROM runs WHERE name = ? ORDER BY start_time DESC LIMIT 1"
        ((run_id,),) = self.query(sql, name)
        return dict(self.query("SELECT key, value FROM tags WHERE run_uuid = ?", run_id))

    def is_training(self, count: int) -> bool:
        """Say whether so many trials have logged their first epoch, and wait."""
        path = self.root / "mlflow.db"
        sql = "SELECT count(DISTINCT run_uuid) FROM metrics JOIN runs USING (run_uuid)"
        sql += " WHERE status = 'RUNNING' AND key = 'val_accuracy'"
        return path.exists() and self.query(sql) == [(count,)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = copy_project(tmp_path_factory.mktemp("sweep") / "my project")
    shutil.copy(REPOSITORY / "sweep.py", root)
    (root / "train_mlflow.py").write_text(TRAINING)
    file = root / "params.yaml"
    file.write_text(file.read_text().partition("search:")[0] + SEARCH)
    (root / ".gitignore").write_text(".runback/\nmlruns/\nmlflow.db*\nreplays/\nhold\n")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
        subprocess.run([*git, *words], cwd=root, check=True)
    return Place(root)


def wait_for(is_so: Callable[[], bool], timeout_s: float = 200) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)


TRIAL = r"(?m)^trial (\d): filters \d+, dropout 0[.\d]*: val_accuracy"


def test_search_that_is_killed_and_interrupted_goes_on_to_its_end(place: Place) -> None:
    hold = place.root / "hold"
    hold.touch()
    for number, status, workers in ((signal.SIGKILL, -9, 2), (signal.SIGINT, 130, 1)):
        search = place.start("--trials", "3", "--workers", str(workers))
        wait_for(functools.partial(place.is_training, workers))
        os.kill(search.pid, number)
        out, _ = search.communicate(timeout=100)
        assert search.returncode == status, out
        assert "Traceback" not in out
        if number == signal.SIGINT:
            said = "runback: 0 of 3 trials are done; the same command goes on\ninterrupted\n"
            assert out.endswith(said)
        wait_for(functools.partial(place.is_training, 0))  # ended with their search
    assert place.runs()["sweep"] == ["KILLED"]
    hold.unlink()
    done, out = place.sweep("--trials", "3")
    assert done == 0, out
    assert sorted(re.findall(TRIAL, out)) == ["0", "1", "2"]
    runs = place.runs()
    assert runs.pop("sweep") == ["FINISHED"]
    ended = {name for name, statuses in runs.items() if statuses == ["FINISHED"]}
    assert ended == {"sweep-trial-0-try-3", "sweep-trial-1-try-2", "sweep-trial-2"}
    assert {status for name in runs.keys() - ended for status in runs[name]} == {"KILLED"}
    assert len(runs) == 6


def test_more_trials_go_on_below_the_same_run(place: Place) -> None:
    done, out = place.sweep("--trials", "5")
    assert done == 0, out
    assert re.findall(TRIAL, out) == ["3", "4"]
    assert place.runs()["sweep"] == ["FINISHED"]
    ((run_id, artifacts),) = place.query(
        "SELECT run_uuid, artifact_uri FROM runs WHERE name = 'sweep'"
    )
    table = [line.split("\t") for line in out.splitlines() if line.count("\t") == 6]
    assert table[0] == ["TRIAL", "STATE", "val_accuracy", "EPOCHS", "filters", "dropout", "RUN"]
    values = [float(row[2]) for row in table[1:]]
    assert values == sorted(values, reverse=True)
    for row in table[1:]:
        tags = dict(place.query("SELECT key, value FROM tags WHERE run_uuid = ?", row[6]))
        assert tags["mlflow.parentRunId"] == run_id
        assert (tags["runback.study"], tags["runback.trial"]) == ("sweep", row[0])
    folder = Path(artifacts) / "search"
    lines = [line.split(",") for line in (folder / "trials.csv").read_text().splitlines()]
    assert sorted(lines[1:]) == sorted(row[:6] for row in table[1:])
    assert sorted(path.name for path in folder.glob("*.png")) == [
        *("epochs.png", "history.png", "importances.png", "parallel.png", "slices.png"),
    ]
    tags = place.tags("sweep")
    assert tags["runback.best_trial"] == table[1][6]
    assert json.loads(tags["runback.best_params"]) == {
        "filters": int(table[1][4]),
        "dropout": float(table[1][5]),
    }
    sql = "SELECT value, step FROM metrics WHERE run_uuid = ? AND key = 'best_val_accuracy'"
    points = place.query(f"{sql} ORDER BY step", run_id)
    assert [step for _, step in points] == [1, 2, 3, 4, 5]
    assert points[-1][0] == values[0]


def test_the_same_command_again_shows_what_came_of_it(place: Place) -> None:
    before = place.runs()
    done, out = place.sweep("--trials", "5")
    assert done == 0
    assert out.startswith("runback: study sweep has its 5 trials; --trials adds more\nTRIAL\t")
    assert place.runs() == before


def test_trials_can_be_replayed_alone_those_that_were_pruned_too(place: Place) -> None:
    pruned = next(name for name in place.runs() if name.endswith("-pruned"))
    before = (place.root / ".runback" / "sweeps" / "sweep" / "study.db").read_bytes()
    for name in (pruned, "sweep-trial-2"):
        done, out = place.runback("replay", name)
        assert done == 0, out
        assert re.search(rf"(?m)^identical  [0-9a-f]{{8}} {name}", out)
    assert (place.root / ".runback" / "sweeps" / "sweep" / "study.db").read_bytes() == before
    sql = "SELECT count(*) FROM tags a JOIN tags b USING (run_uuid)"
    sql += " WHERE a.key = 'runback.replay_of' AND b.key = 'mlflow.parentRunId'"
    assert place.query(sql) == [(0,)]  # no replay is one of the search's trials


def test_search_whose_run_was_deleted_says_so(place: Place) -> None:
    assert place.runback("rm", "sweep")[0] == 0
    done, out = place.sweep("--trials", "6")
    assert (done, out.count("Traceback")) == (3, 0)
    assert 'error: study "sweep" cannot go on in its run ' in out
    assert re.search(
        r"hint: runback restore [0-9a-f]{8}   # or: --study sweep-2 begins another", out
    )
    assert place.runback("restore", "sweep")[0] == 0


def test_search_whose_results_cannot_be_logged_says_so_and_goes_on(place: Place) -> None:
    place.execute("DELETE FROM tags WHERE key = 'runback.best_trial'")
    full = "CREATE TRIGGER full BEFORE INSERT ON tags WHEN new.key = 'runback.best_trial'"
    place.execute(f"{full} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
    done, out = place.sweep("--trials", "6")
    place.execute("DROP TRIGGER full")
    assert (done, out.count("Traceback")) == (3, 0)
    assert re.search(r"error: the run of the search, [0-9a-f]{8}, cannot be written: .*full", out)
    done, out = place.sweep("--trials", "6")
    assert done == 0, out
    assert place.runs()["sweep"] == ["FINISHED"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "workers = '0' (--workers): must be a whole number from 1 to 64"),
        (["--trials", "0"], "trials = '0' (--trials): must be a whole number from 1 to 100000"),
        (["--study", "a/b"], "study = 'a/b' (--study): must be a name of letters, digits, _ . -"),
        (["--", "--filters", "2"], "--filters: section 'search' varies filters"),
        (
            ["--", "--epochs", "0"],
            "epochs = '0' (--epochs): must be a whole number from 1 to 10000",
        ),
        (["--seed", "1", "--trials", "9"], "sweep.seed: 0 then, 1 now"),
    ],
)
def test_wrong_words_are_named_before_anything_is_run(
    place: Place, words: list[str], said: str
) -> None:
    before = place.runs()
    status, out = place.sweep(*words)
    assert status in (2, 3)
    assert said in out
    assert "Traceback" not in out
    assert place.runs() == before
