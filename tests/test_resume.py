"""A run that goes on in a later process: where it goes on, who may, and what its record holds."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from records import make_record, query, run_index
from test_capture import server  # noqa: F401 - a fixture
from training import Store, make

from runback.record import manifest
from runback.store import running
from runback.store.complete import KILLED

BEGUN = """
import runback
experiment = runback.init(name="half", params={"lr": 0.1})
for step in range(4):
    with open("model.pt", "w") as file:
        file.write(f"weights of step {step}")
    loss = [4.0, 1.0, 2.0, 3.0][step]
    experiment.checkpoint("model.pt", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
experiment.checkpoint(metrics={"loss": 5.0})
print(experiment.id)
experiment.stop()
"""
RESUMED = """
import sys, time, runback
experiment = runback.resume(sys.argv[1])
latest, best = experiment.latest, experiment.best
print([experiment.id, latest.step, latest.path.read_text(), latest.metrics,
       best.step, best.path.read_text()], flush=True)
open("model.pt", "w").write("more")
kept = experiment.checkpoint("model.pt", metrics={"loss": 0.5})
print(kept.step, experiment.best.step, flush=True)
if len(sys.argv) > 2:
    time.sleep(1000)
experiment.stop()
"""


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return make(tmp_path / "store", template)


@pytest.fixture
def begun(store: Store) -> str:
    done = store.train(BEGUN)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def line(run_id: str, step: int, text: str, loss: float, best: int, best_text: str) -> str:
    return str([run_id, step, text, {"loss": loss}, best, best_text])


def test_killed_while_it_went_on_and_finished_after(store: Store, begun: str) -> None:
    process = store.start(RESUMED, "half", "wait")
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    assert first.strip() == line(begun, 3, "weights of step 3", 3.0, 1, "weights of step 1")
    assert second == "5 5\n"
    assert running.runs(store.root) == ({begun}, set())
    wait_until(lambda: len(store.recorded(begun)) == 6)  # it is recorded while it goes on
    known = manifest.read(store.record(begun), begun)
    assert (known["state"], len(known["resumed"])) == (manifest.RUNNING, 1)
    assert known["resumed"][0]["process"]["pid"] == process.pid
    assert store.index()["ended"] == []
    assert store.runs() == {begun: "RUNNING"}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert store.index()["ended"] == [begun]
    check_record(store, begun, "KILLED")
    done = store.train(RESUMED, begun[:6])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line(begun, 5, "more", 0.5, 5, "more"), "6 5"]
    check_record(store, begun, "FINISHED")  # without an index: what rsync takes now is whole
    assert [p.step for p in store.recorded(begun)] == [0, 1, 2, 3, 4, 5, 6]
    known = manifest.read(store.record(begun), begun)
    assert [again["command"]["argv"][-1] for again in known["resumed"]] == ["wait", begun[:6]]
    assert known["code"]["digest"] == known["resumed"][1]["code"]
    assert [word for word in known["command"]["argv"] if word == "wait"] == []
    output = (store.record(begun) / "output.log").read_text()
    assert output.startswith(f"{begun}\n")
    assert output.endswith("\n6 5\n")


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def check_record(store: Store, run_id: str, status: str) -> None:
    """The record says all that the database says, and is whole; so says a rebuilt database."""
    assert store.runs() == {run_id: status}
    assert store.recorded(run_id) == store.logged(run_id)
    assert store.problems(run_id) in ([], [f"not recorded: {KILLED}"])
    known = manifest.read(store.record(run_id), run_id)
    sql = "SELECT model_id FROM logged_models"
    assert sorted(known["models"]) == sorted(row[0] for row in query(store.database, sql))
    before = query(store.database, "SELECT model_id, status FROM logged_models ORDER BY 1")
    done = store.runback("index", "--rebuild")
    assert done.returncode == 0, done.stderr
    assert store.runs() == {run_id: status}
    assert query(store.database, "SELECT model_id, status FROM logged_models ORDER BY 1") == before


SHARED = """
import os, subprocess, sys
import runback
experiment = runback.init(name="half")
for how in ("experiment.stop()", "pass"):
    subprocess.run(
        [sys.executable, "-c", f"import runback; experiment = runback.resume('half'); {how}"],
        stderr=subprocess.DEVNULL,
    )
    print(experiment._publisher.run().info.status)
experiment.checkpoint(metrics={"loss": 1.0})
experiment.stop()
"""


def test_run_goes_on_in_the_process_that_still_has_it(store: Store) -> None:
    done = store.train(SHARED)
    assert done.stdout.split() == ["RUNNING", "RUNNING"], done.stderr
    assert store.runs() == {store.named("half"): "FINISHED"}
    assert list((store.root / ".runback" / "running").iterdir()) == []
    check_record(store, store.named("half"), "FINISHED")


REFUSED = """
import sys, mlflow, runback
from runback.errors import RunbackError
for text in sys.argv[2:]:
    try:
        runback.resume(text)
    except RunbackError as error:
        print(type(error).__name__, str(error).split(chr(10))[0])
try:
    runback.resume(3, path="nowhere")
except ValueError as error:
    print(error)
with mlflow.start_run():
    try:
        runback.resume("half")
    except RunbackError as error:
        print(type(error).__name__)
with mlflow.start_run(run_id=sys.argv[1]):
    with runback.resume("half") as experiment:
        experiment.checkpoint(metrics={"loss": 7})
    assert mlflow.active_run().info.run_id == experiment.id
print(mlflow.active_run())
"""


def test_who_can_go_on(store: Store, begun: str) -> None:
    record = make_record(store.root / "mlruns", experiment_id=5, experiment="elsewhere")
    store.index()
    away = record.parent.parent.name
    done = store.train(REFUSED, begun, "no such run", away)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f'NoSuchRun no run has an id that begins with "no such run", or that name (2 runs in '
        f"{store.root})",
        f"RunElsewhere run {away[:8]} is recorded by the store gpuserver-1a2b3c4d, and this is "
        f"{manifest.read(store.record(begun), begun)['store']}: what is logged here would not get "
        "into its record",
        "2 problems in resume()",
        "  path 'nowhere' does not exist",
        "  run is 3, not the id or name of one",
        "RunActive",
        "None",
    ]
    assert store.runs()[begun] == "FINISHED"
    assert list((store.root / ".runback" / "running").iterdir()) == []


def test_last_of_several_processes_keeps_the_run_alive(tmp_path: Path) -> None:
    run_id = "a" * 32
    one, other = running.hold(tmp_path, run_id), running.hold(tmp_path, run_id)
    one.release()
    assert running.is_held(tmp_path, run_id)
    assert running.runs(tmp_path) == ({run_id}, set())
    other.forget()  # as if it had been killed
    assert running.runs(tmp_path) == (set(), {run_id})
    assert running.is_known(tmp_path, run_id)
    again = running.hold(tmp_path, run_id)
    running.remove(tmp_path, run_id)
    assert running.runs(tmp_path) == ({run_id}, set())
    again.release()
    assert not running.is_known(tmp_path, run_id)


ON_A_SERVER = """
import json, sys
import runback
from pathlib import Path
Path("folder").mkdir(exist_ok=True)
Path("folder/a.bin").write_bytes(b"a" * 1000)
experiment = runback.init(params={"lr": 0.1})
metrics = {"loss": 0.5}
experiment.checkpoint("folder", metrics=metrics, primary_metric=("loss", "minimize"))
experiment.checkpoint("folder/a.bin", metrics={"loss": 0.75}, background=True)
experiment.checkpoint(metrics={"loss": 0.25})
experiment.stop()
again = runback.resume(experiment.id)
latest, best = again.latest, again.best
kept = again.checkpoint("folder/a.bin", metrics={"loss": 0.125})
print(json.dumps([latest.step, latest.path.read_bytes().decode(),
                  best.step, best.path, best.metrics, kept.step]))
print(json.dumps([again.best.step, again.best.path.name]))
again.stop()
"""


def test_run_on_a_server_goes_on_too(tmp_path: Path, store: Store, server: str) -> None:  # noqa: F811
    done = store.train(ON_A_SERVER, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert found == [[1, "a" * 1000, 2, None, {"loss": 0.25}, 2], [2, "a.bin"]]
    database = tmp_path / "server" / "mlflow.db"
    assert query(database, "SELECT status, COUNT(*) FROM logged_models") == [(2, 3)]
    assert store.runs() == {}
    assert not list((store.root / ".runback" / "drafts").iterdir())


def test_index_of_a_store_with_a_hold_of_old(tmp_path: Path, template: Path) -> None:
    """A process that was started before an update holds its run under the plain name."""
    store = make(tmp_path / "store", template)
    record = make_record(store.root / "mlruns", status="RUNNING")
    run_id = record.parent.parent.name
    (store.root / ".runback" / "running").mkdir(exist_ok=True)
    (store.root / ".runback" / "running" / run_id).touch()
    run_index(store.root)
    run_index(store.root)
    assert store.runs() == {run_id: "KILLED"}
