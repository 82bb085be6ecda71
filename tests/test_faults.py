"""What goes wrong on a real machine: kills, a full disk, many at once. Nothing logged is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from records import dump, is_sound, make_record, query
from training import Store, acknowledged, make

from runback.record import check, files, manifest, metrics
from runback.record.manifest import NO_CODE
from runback.record.metrics import Point
from runback.store.complete import KILLED, UNCAPTURED
from runback.store.identity import store_id

# MLflow is imported once, and each training is a fork of that process: 2 s less for each.
# Arguments: how many, the latest instant of the signal in s (later where one alone takes a quarter
# of that for its first points), its number.
FORKS = """
import os, random, signal, sys, time
import mlflow
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from runback.capture import database, recorder

count, span, number = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
recorder.BEAT_S = database.Database.beat_s = 0.1  # so that signals come in all of its phases
os.environ["RUNBACK_RECORD"] = "0"
with mlflow.start_run(run_name="first contact"):
    mlflow.log_metric("x", 1)
del os.environ["RUNBACK_RECORD"]
for engine in SqlAlchemyStore._engine_map.values():
    engine.dispose()

def train(trial):
    noted = os.open(f"acknowledged/{trial}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with mlflow.start_run() as run:
        os.write(noted, f"{run.info.run_id}\\n".encode())
        # Every third ends by itself: the signal may come while its record is completed.
        for step in range(12 if trial % 3 == 0 else 10**6):
            value = 1 / (step + trial + 3)
            mlflow.log_metric("loss", value, step=step)
            os.write(noted, f"{step} {value!r}\\n".encode())

def start(trial):
    child = os.fork()
    if child == 0:
        train(trial)
        sys.exit()
    return child

os.mkdir("acknowledged")
began = time.monotonic()
first = start(count)
while not os.path.exists(path := f"acknowledged/{count}") or open(path).read().count("\\n") < 4:
    time.sleep(0.002)
span = max(span, 4 * (time.monotonic() - began))  # a busy machine is slower
os.kill(first, number)
os.waitpid(first, 0)

chance = random.Random(5)
ends, trial, instants = [], 0, {}
while trial < count or instants:
    while trial < count and len(instants) < 4:
        child = start(trial)
        instants[child] = time.monotonic() + chance.uniform(0, span)
        trial += 1
    for child in [c for c, instant in instants.items() if time.monotonic() >= instant]:
        os.kill(child, number)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        del instants[child]
    time.sleep(0.002)
print(*ends)
"""


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return make(tmp_path / "a störe", template)


def noted(store: Store) -> dict[str, list[tuple[int, float]]]:
    return dict(acknowledged(store.root / "acknowledged"))


def check_nothing_lost(store: Store, acknowledged: dict[str, list[tuple[int, float]]]) -> None:
    """Every acknowledged point is in the database, and what is there is in the record, once."""
    for run_id, points in acknowledged.items():
        logged = store.logged(run_id)
        assert {(p.step, p.value) for p in logged} >= set(points)
        assert store.recorded(run_id) == logged


def test_training_killed_at_200_random_instants(store: Store) -> None:
    done = store.train(FORKS, "200", "0.8", str(int(signal.SIGKILL)))
    assert done.returncode == 0, done.stderr
    ends = done.stdout.split()
    assert ends.count(str(-signal.SIGKILL)) + ends.count("0") == 200, done.stderr
    assert ends.count("0") < 40
    runs = noted(store)
    assert len(runs) > 80  # of the others, the kill came before their run
    assert sum(map(len, runs.values())) > 400
    assert is_sound(store.database)
    captured = {run for run in runs if store.has(run, files.MANIFEST)}
    store.index()
    assert is_sound(store.database)
    check_nothing_lost(store, runs)
    statuses = store.runs()
    for run_id in runs:
        # No more is said, unless the kill came before the beginning was written down.
        expected = [KILLED] if run_id in captured else [UNCAPTURED, KILLED]
        if not store.has(run_id, files.CODE) and run_id in captured:
            expected = [NO_CODE, KILLED]
        said = [f"not recorded: {what}" for what in expected]
        assert store.problems(run_id) in ([said, []] if statuses[run_id] == "FINISHED" else [said])
    assert set(statuses.values()) <= {"KILLED", "FINISHED"}
    assert not [path for path in (store.root / ".runback" / "running").iterdir()]
    again = store.index()
    assert not any(again[step] for step in ("adopted", "completed", "ended", "wrong"))


def test_training_terminated_at_60_random_instants(store: Store) -> None:
    """SIGTERM (a batch system's, a container engine's) completes the record before it ends us."""
    done = store.train(FORKS, "60", "1.2", str(int(signal.SIGTERM)))
    assert done.returncode == 0, done.stderr
    ends = done.stdout.split()
    assert ends.count(str(-signal.SIGTERM)) + ends.count("0") == 60, done.stderr
    runs = noted(store)
    assert len(runs) > 30
    check_nothing_lost(store, runs)
    statuses = store.runs()
    assert {statuses[run_id] for run_id in runs} <= {"KILLED", "FINISHED"}
    for run_id in runs:
        assert store.problems(run_id) == []
    assert is_sound(store.database)


LATE = (
    "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
)


def give_work(store: Store) -> None:
    """Make what an index has to do: 100 runs that came, and 20 of this store that were killed."""
    mlruns, us = store.root / "mlruns", store_id(store.root)
    killed = [make_record(mlruns, status="RUNNING", store=us) for _ in range(20)]
    store.index()
    (store.root / ".runback" / "running").mkdir(exist_ok=True)
    for number, record in enumerate(killed):
        run_id = record.parent.parent.name
        (store.root / ".runback" / "running" / run_id).touch()
        for step in range(20):
            query(store.database, LATE, "late", 0.5, 1_700_000_000_001, run_id, step)
        latest = "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
        latest += " VALUES ('late', 0.5, 1700000000001, 19, 0, ?)"
        query(store.database, latest, run_id)
        if number % 3 == 0:
            (record / files.MANIFEST).unlink()  # killed before it was written
    for _ in range(100):
        points = [Point("loss", 1 / n, 1_700_000_000_000 + n, n, False) for n in range(1, 40)]
        make_record(mlruns, points=points)


def content(store: Store) -> dict[str, bytes]:
    """Return all files of all records, but for drafts that a kill left behind."""
    paths = [path for path in (store.root / "mlruns").rglob("*.*") if path.suffix != ".draft"]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def copy(source: Path, target: Path) -> None:
    """Have in `target` what is in the store `source`; which store it is stays as it is."""
    for path in target.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(target / "mlruns", ignore_errors=True)
    for path in source.glob("mlflow.db*"):
        shutil.copy2(path, target)
    shutil.copytree(source / "mlruns", target / "mlruns")
    shutil.copytree(source / ".runback/running", target / ".runback/running", dirs_exist_ok=True)


def test_index_killed_at_15_random_instants(store: Store, tmp_path: Path) -> None:
    give_work(store)
    before = tmp_path / "before"
    (before / ".runback").mkdir(parents=True)
    copy(store.root, before)
    began_s = time.monotonic()
    report = store.index()
    took_s = time.monotonic() - began_s
    counts = [len(report[step]) for step in ("adopted", "ended", "completed", "wrong")]
    assert counts == [100, 20, 20, 0]
    rows, records = dump(store.database), content(store)
    chance = random.Random(7)
    killed = tries = 0
    while killed < 15:
        copy(before, store.root)
        process = store.start_index()
        time.sleep(chance.uniform(0.08, took_s))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        tries += 1
        assert is_sound(store.database)
        store.index()
        assert is_sound(store.database)
        assert dump(store.database) == rows
        assert content(store) == records
        assert tries < 60, "most came too late"


def fill(folder: Path) -> Path:
    """Leave no room on a disk; return what takes it."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file:
        for size in (65536, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def put_artifacts_on(disk: Path, store: Store) -> None:
    """Have mlruns/ on another disk than mlflow.db."""
    (disk / "mlruns").mkdir()
    location = str(disk / "mlruns" / "0")
    query(store.database, "UPDATE experiments SET artifact_location = ?", location)


FULL_AT_START = """
import time, mlflow
with mlflow.start_run():
    for _ in range(200):
        time.sleep(0.05)
    print("trained")
"""


def test_full_disk_stops_a_training_before_it_has_begun(store: Store, small_disk: Path) -> None:
    put_artifacts_on(small_disk, store)
    filler = fill(small_disk)
    done = store.train(FULL_AT_START)
    assert done.returncode == 3
    assert done.stdout == ""
    (run_id,) = store.runs()
    shown = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert shown == [
        f"error: run {run_id[:8]} cannot be recorded: No space left on device",
        "hint: RUNBACK_RECORD=0 trains without a record",
    ]
    assert store.runs() == {run_id: "FAILED"}
    filler.unlink()


FULL_WHEN_BEGUN = """
import subprocess, sys, time, mlflow
from runback.capture import facts
gather = facts.gather
facts.gather = lambda *given: (time.sleep(1), gather(*given))[1]  # of a big project
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0, step=0)
    time.sleep(3)
    subprocess.run([sys.executable, "-m", "runback", "index", "-q"], check=True)
    print(mlflow.get_run(run.info.run_id).info.status)
    mlflow.log_metric("loss", 0.5, step=1)
"""


def test_training_that_cannot_be_recorded_but_has_begun_goes_on(
    store: Store, small_disk: Path
) -> None:
    """Nor does an index take it for one whose process is gone."""
    put_artifacts_on(small_disk, store)
    filler = fill(small_disk)
    done = store.train(FULL_WHEN_BEGUN)
    assert (done.returncode, done.stdout) == (0, "RUNNING\n"), done.stderr
    (run_id,) = store.runs()
    assert [line for line in done.stderr.splitlines() if "INFO" not in line] == [
        f"runback: warning: run {run_id[:8]} is not recorded: No space left on device"
    ]
    filler.unlink()
    store.index()
    assert store.runs() == {run_id: "FINISHED"}
    assert [p.value for p in store.logged(run_id)] == [1.0, 0.5]


FULL_IN_BETWEEN = """
import sys, time, mlflow
from pathlib import Path
from test_faults import fill
disk, is_freed = Path(sys.argv[1]), sys.argv[2] == "freed"
with mlflow.start_run():
    mlflow.log_metric("loss", 2.0, step=0)
    time.sleep(4)  # a beat
    filler = fill(disk)
    for step in range(1, 300):
        mlflow.log_metric("loss", 1 / step, step=step)
        mlflow.log_metric(f"{'long name ' * 10}", 1 / step, step=step)
    time.sleep(7)  # two beats that find no room
    if is_freed:
        filler.unlink()
        time.sleep(4)
print("trained")
"""


@pytest.mark.parametrize("until", ["freed", "full"])
def test_full_disk_in_mid_training_ends_only_the_record(
    store: Store, small_disk: Path, until: str
) -> None:
    put_artifacts_on(small_disk, store)
    path = f"{REPOSITORY}:{REPOSITORY}/tests"
    done = store.train(FULL_IN_BETWEEN, str(small_disk), until, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
    (run_id,) = store.runs()
    warnings = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert warnings == [
        f"runback: warning: the record of run {run_id[:8]} lacks something: No space left on device"
    ]
    assert store.runs() == {run_id: "FINISHED"}
    assert len(store.logged(run_id)) == 599
    record = small_disk / "mlruns" / "0" / run_id / "artifacts" / files.FOLDER
    if until == "full":
        assert not manifest.is_final(manifest.read(record, run_id))
        (small_disk / "filler").unlink()
        store.index()
    known = manifest.read(record, run_id)
    assert manifest.is_final(known)
    reason = KILLED if until == "full" else "No space left on device"
    assert [what.endswith(reason) for what in known["missing"]] == [True]
    points = [p for block in metrics.read(record / files.METRICS) for p in block]
    assert points == store.logged(run_id)
    assert list(check.problems(record, run_id, {})) == [f"not recorded: {known['missing'][0]}"]


def test_full_disk_during_index_changes_nothing(small_disk: Path, template: Path) -> None:
    store = make(small_disk / "store", template)
    for _ in range(20):
        points = [Point("loss", 1 / n, 1_700_000_000_000 + n, n, False) for n in range(1, 900)]
        make_record(store.root / "mlruns", points=points)
    rows = dump(store.database)
    for free_bytes in (0, 40_000, 200_000):
        filler = fill(small_disk)
        os.truncate(filler, filler.stat().st_size - free_bytes)
        done = store.runback("index")
        filler.unlink()
        assert (done.returncode, done.stdout) == (3, "")
        error, hint = done.stderr.splitlines()
        assert error.startswith("error: ")
        assert "df -h" in hint
        assert is_sound(store.database)
        assert dump(store.database) == rows
    assert len(store.index()["adopted"]) == 20
    assert is_sound(store.database)


TRAIN = """
import sys, mlflow
with mlflow.start_run(run_name=sys.argv[1]):
    for step in range(300):
        mlflow.log_metric(f"loss {sys.argv[1]}", step / 7, step=step)
"""


def test_eight_trainings_at_once_and_indexes_meanwhile(store: Store) -> None:
    names = [f"number {number}" for number in range(8)]
    trainings = [store.start(TRAIN, name) for name in names]
    reports = []
    while any(process.poll() is None for process in trainings):
        reports.append(store.index())
        time.sleep(0.3)
    for process in trainings:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "locked" not in errors
        assert "Traceback" not in errors
    assert len(reports) > 5
    assert not any(report["ended"] or report["wrong"] for report in reports)
    assert is_sound(store.database)
    for name in names:
        run_id = store.named(name)
        logged = store.logged(run_id)
        assert [(p.key, p.step, p.value) for p in logged] == [
            (f"loss {name}", step, step / 7) for step in range(300)
        ]
        assert store.recorded(run_id) == logged
        assert store.problems(run_id) == []
    assert store.runback("verify", "--records").returncode == 0


# How a script may end, and what it may do: each in a process of its own.
ENDINGS = {
    "raises": """
with mlflow.start_run(run_name="raises"):
    mlflow.log_metric("loss", 1.0)
    raise RuntimeError("diverged")
""",
    "exits": """
with mlflow.start_run(run_name="exits"):
    mlflow.log_metric("loss", 1.0)
    sys.exit(3)
""",
    "terminated": """
with mlflow.start_run(run_name="terminated"):
    mlflow.log_metric("loss", 1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
""",
    "leaves at once": """
with mlflow.start_run(run_name="leaves at once"):
    mlflow.log_metric("loss", 1.0)
    time.sleep(1)
    os._exit(0)
""",
    "bare client": """
client = mlflow.MlflowClient()
run = client.create_run("0", run_name="bare client")
client.log_metric(run.info.run_id, "loss", 1.0)
client.set_terminated(run.info.run_id)
""",
    "not recorded": """
os.environ["RUNBACK_RECORD"] = "0"
with mlflow.start_run(run_name="not recorded"):
    mlflow.log_metric("loss", 1.0)
""",
    "never terminated": """
from mlflow.tracking.context.registry import resolve_tags
client = mlflow.MlflowClient()
run = client.create_run("0", run_name="never terminated", tags=resolve_tags())
client.log_metric(run.info.run_id, "loss", 1.0)
""",
    "nested": """
with mlflow.start_run(run_name="parent"):
    mlflow.log_metric("loss", 1.0)
    with mlflow.start_run(run_name="child", nested=True):
        mlflow.log_metric("loss", 2.0)
    mlflow.log_metric("loss", 0.5, step=1)
""",
    "two": """
for name in ("one", "other"):
    with mlflow.start_run(run_name=name):
        mlflow.log_metric("loss", 1.0)
""",
    "late": """
with mlflow.start_run(run_name="late") as run:
    mlflow.log_metric("loss", 1.0)
time.sleep(4)  # its record is final now
mlflow.MlflowClient().log_metric(run.info.run_id, "test loss", 0.25)
""",
    "prints": """
with mlflow.start_run(run_name="prints"):
    time.sleep(1)
    for percent in range(101):
        print(f"\\repoch 1: {percent:3d}%", end="", flush=True)
    print("\\nevaluating")
    print("to stderr", file=sys.stderr)
    print("no end of line", end="")
""",
}
# How each run ends, by the run's name; the others are FINISHED.
STATUSES = {
    "raises": "FAILED",
    "exits": "FAILED",
    "terminated": "KILLED",
    "leaves at once": "KILLED",
}
UNRECORDED = ("leaves at once", "bare client", "not recorded")


@dataclass(frozen=True)
class Endings:
    """What came of the scripts. before: what was wrong with each record until an index came."""

    store: Store
    done: dict[str, subprocess.CompletedProcess[str]]
    before: dict[str, list[str]]
    report: dict[str, Any]


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Endings:
    store = make(tmp_path_factory.mktemp("endings"), template)
    imports = "import os, signal, subprocess, sys, time, mlflow\n"
    with ThreadPoolExecutor(3) as pool:
        jobs = {name: pool.submit(store.train, imports + code) for name, code in ENDINGS.items()}
    done = {name: job.result() for name, job in jobs.items()}
    names = [name for (name,) in query(store.database, "SELECT name FROM runs")]
    before = {n: store.problems(store.named(n)) for n in names if n not in UNRECORDED[1:]}
    assert not any(store.has(store.named(name), "*") for name in UNRECORDED[1:])
    return Endings(store, done, before, store.index())


def test_each_script_ends_as_without_us(endings: Endings) -> None:
    found = {name: done.returncode for name, done in endings.done.items()}
    expected = {"raises": 1, "exits": 3, "terminated": -signal.SIGTERM}
    assert found == {name: expected.get(name, 0) for name in ENDINGS}
    for name, done in endings.done.items():
        assert ("Traceback" in done.stderr) == (name == "raises"), done.stderr
        assert "warning" not in done.stderr.replace("DeprecationWarning", ""), done.stderr


def test_each_run_has_its_status(endings: Endings) -> None:
    rows = dict(query(endings.store.database, "SELECT name, status FROM runs"))
    assert len(rows) == len(ENDINGS) + 2
    assert rows == {name: STATUSES.get(name, "FINISHED") for name in rows}


def test_each_record_is_final_when_its_process_has_ended(endings: Endings) -> None:
    """But for os._exit, which no handler sees: the index completes it."""
    wrong = {name: found for name, found in endings.before.items() if found}
    assert list(wrong) == ["leaves at once"]
    assert wrong["leaves at once"][0].startswith("not final")


def test_index_completes_what_was_not_recorded(endings: Endings) -> None:
    store, report = endings.store, endings.report
    assert report["wrong"] == {}
    assert sorted(report["completed"]) == sorted(map(store.named, UNRECORDED))
    left, bare, unrecorded = (store.problems(store.named(name)) for name in UNRECORDED)
    assert left == [f"not recorded: {KILLED}"]
    assert bare == unrecorded == [f"not recorded: {UNCAPTURED}"]


def test_each_record_has_what_was_logged(endings: Endings) -> None:
    for run_id in endings.store.runs():
        assert endings.store.recorded(run_id) == endings.store.logged(run_id)
    late = endings.store.recorded(endings.store.named("late"))
    assert [(p.key, p.value) for p in late] == [("loss", 1.0), ("test loss", 0.25)]


def test_record_says_how_the_script_ended(endings: Endings) -> None:
    def by(name: str) -> str:
        run_id = endings.store.named(name)
        return str(manifest.read(endings.store.record(run_id), run_id)["ended"]["by"])

    assert by("raises") == "RuntimeError: diverged"
    assert by("terminated") == f"signal {int(signal.SIGTERM)}"
    assert by("one") == ""


def test_output_shows_a_progress_bar_as_its_last_state(endings: Endings) -> None:
    record = endings.store.record(endings.store.named("prints"))
    text = (record / files.OUTPUT).read_text()
    assert "epoch 1: 100%\nevaluating\n" in text
    assert "99%" not in text
    assert "to stderr\n" in text
    assert "no end of line\n" in text


FORKS_WORKERS = """
import os, multiprocessing, subprocess, sys, time
import mlflow

def work(seconds):
    print("in the worker")
    time.sleep(seconds)

with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0)
    time.sleep(1)
    context = multiprocessing.get_context("fork")
    for _ in range(20):
        workers = [context.Process(target=work, args=[seconds]) for seconds in (0, 60, 60)]
        for worker in workers:
            worker.start()
        workers[2].terminate()
        workers[1].kill()
        for worker in workers:
            worker.join()
        print([worker.exitcode for worker in workers])
    subprocess.run([sys.executable, "-m", "runback", "index", "-q"], check=True)
    print(mlflow.get_run(run.info.run_id).info.status)
    mlflow.log_metric("loss", 0.5, step=1)
"""


def test_forked_workers_leave_the_run_alone(store: Store) -> None:
    """And end by a signal as without us, however soon it comes: none is lost in the fork."""
    done = store.train(FORKS_WORKERS)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("in the worker", "").split("\n")
    assert [line for line in lines if line] == [
        f"[0, {-signal.SIGKILL}, {-signal.SIGTERM}]"
    ] * 20 + ["RUNNING"]
    (run_id,) = store.runs()
    assert store.runs() == {run_id: "FINISHED"}
    assert [p.value for p in store.recorded(run_id)] == [1.0, 0.5]
    assert "in the worker" not in (store.record(run_id) / files.OUTPUT).read_text()
    assert store.problems(run_id) == []
