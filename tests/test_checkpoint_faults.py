"""What goes wrong while checkpoints are kept: kills, two processes, a full disk, damage."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from records import is_sound, query, run_index
from training import Store, make

from runback.record import checkpoint, files
from runback.store import leftovers

# MLflow is imported once, and each training is a fork of that process. Arguments: how many
# are killed, and the latest instant of a kill in s.
FORKS = """
import os, random, signal, sys, time
os.environ["RUNBACK_RECORD"] = "0"
import mlflow, runback, runback.checkpoints
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from pathlib import Path

with runback.init(name="first contact") as experiment:
    experiment.checkpoint(metrics={"x": 1})
for engine in SqlAlchemyStore._engine_map.values():
    engine.dispose()

def train(trial):
    chance = random.Random(trial)
    noted = os.open(f"acknowledged/{trial}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    folder = Path(f"work/{trial}/model")
    folder.mkdir(parents=True)
    experiment = runback.init()
    for step in range(10**6):
        for name in ("a.bin", "b.bin", f"{step}.txt"):
            (folder / name).write_bytes(chance.randbytes(chance.randrange(300_000)))
        kept = experiment.checkpoint(
            folder if step % 2 else folder / "a.bin", metrics={"loss": 1 / (1 + step)},
            primary_metric=("loss", "minimize"), background=step % 3 == 0,
        )
        if step % 3:
            os.write(noted, f"{kept.model_id} {experiment.id}\\n".encode())

def start(trial):
    child = os.fork()
    if child == 0:
        train(trial)
    return child

count, span = int(sys.argv[1]), float(sys.argv[2])
os.mkdir("acknowledged")
began = time.monotonic()
first = start(count)
while not os.path.exists(path := f"acknowledged/{count}") or not os.path.getsize(path):
    time.sleep(0.002)
span = max(span, 8 * (time.monotonic() - began))  # a busy machine is slower
os.kill(first, signal.SIGKILL)
os.waitpid(first, 0)

chance = random.Random(5)
killed, trial, instants = 0, 0, {}
while trial < count or instants:
    while trial < count and len(instants) < 2:
        child = start(trial)
        instants[child] = time.monotonic() + chance.uniform(0.05, span)
        trial += 1
    for child in [c for c, instant in instants.items() if time.monotonic() >= instant]:
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        del instants[child]
    time.sleep(0.002)
print(killed)
"""


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return make(tmp_path / "a störe", template)


def models(store: Store, status: int) -> dict[str, Path]:
    sql = "SELECT model_id, artifact_location FROM logged_models WHERE status = ?"
    return {name: Path(path) for name, path in query(store.database, sql, status)}


def check_whole(store: Store) -> dict[str, checkpoint.Checkpoint]:
    """Every ready model has all its files, as they were; return what they say of themselves."""
    found = {}
    for model_id, folder in models(store, 2).items():
        kept = found[model_id] = checkpoint.read(folder, model_id)
        assert {name: files.digest(folder / name) for name in kept.files} == kept.files
        step = query(store.database, "SELECT step FROM inputs WHERE destination_id = ?", model_id)
        sql = "SELECT metric_name, metric_value FROM logged_model_metrics WHERE model_id = ?"
        assert (step, dict(query(store.database, sql, model_id))) == ([(kept.step,)], kept.metrics)
    return found


def test_killed_at_40_random_instants(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    done = store.train(FORKS, "40", "0.7")
    assert (done.returncode, done.stdout) == (0, "40\n"), done.stderr
    assert is_sound(store.database)
    whole = check_whole(store)
    noted = [
        line.split()
        for path in (store.root / "acknowledged").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert len(noted) > 40
    assert all(whole[model_id].run_id == run_id for model_id, run_id in noted)
    for run_id, best in query(
        store.database, "SELECT run_uuid, value FROM tags WHERE key = 'runback.best'"
    ):
        said = json.loads(best)
        own = [kept for kept in whole.values() if kept.run_id == run_id]
        assert said["value"] == min(kept.metrics["loss"] for kept in own)
        assert whole[said["model_id"]].step == said["step"]
    begun = set(models(store, 1))
    monkeypatch.setattr(leftovers, "OLD_S", 0)
    run_index(store.root)
    check_cleared(store, begun)
    assert check_whole(store).keys() == whole.keys()
    assert is_sound(store.database)


def check_cleared(store: Store, begun: set[str]) -> None:
    """Nothing is left of what was begun and not finished, and the rest is stored once."""
    assert begun
    assert models(store, 1) == {}
    folders = {path.name for path in store.root.glob("mlruns/*/models/*")}
    assert folders == models(store, 2).keys()
    assert list((store.root / ".runback" / "drafts").iterdir()) == []
    objects = list((store.root / ".runback" / "objects").glob("??/*"))
    assert objects
    for path in objects:
        assert files.digest(path)["digest"] == f"sha256:{path.parent.name}{path.name}"
    assert run_index(store.root).ended == []
    for run_id, status in store.runs().items():
        # Without capture, a run is held some milliseconds after MLflow has made it.
        assert status in ("KILLED", "FINISHED") or not store.logged(run_id)


TWENTY = """
import os, sys
import runback
from pathlib import Path
which, run_id = int(sys.argv[1]), sys.argv[2]
Path(f"model{which}.pt").write_bytes(b"same bytes")
if os.environ.get("MLFLOW_RUN_ID"):
    experiment = runback.init()
else:
    experiment = runback.resume(run_id)
for n in range(20):
    step = 2 * n + which
    loss = abs(step - 17) + 0.5
    experiment.checkpoint(f"model{which}.pt", step, {"loss": loss}, ("loss", "minimize"),
                          background=n % 2 == 0)
experiment.stop()
"""
ONE = """
import runback
experiment = runback.init(name="shared")
print(experiment.id)
experiment.checkpoint(metrics={"loss": 99}, step=-1)
experiment.stop()
"""


def test_two_processes_and_twenty_checkpoints_each_on_one_run(store: Store) -> None:
    run_id = store.train(ONE).stdout.split()[0]
    one = store.start(TWENTY, "0", run_id)
    other = store.start(TWENTY, "1", run_id, MLFLOW_RUN_ID=run_id)
    for process in (one, other):
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    kept = check_whole(store)
    assert sorted(found.step for found in kept.values()) == list(range(40))
    assert {found.run_id for found in kept.values()} == {run_id}
    assert models(store, 1) == {}
    points = [p.step for p in store.logged(run_id) if p.key == "loss"]
    assert sorted(points) == list(range(-1, 40))
    best = query(store.database, "SELECT value FROM tags WHERE key = 'runback.best'")
    assert json.loads(best[0][0])["value"] == 0.5
    assert len(list((store.root / ".runback" / "objects").glob("??/*"))) == 1
    store.index()
    assert store.runs() == {run_id: "FINISHED"}
    assert store.problems(run_id) == []
    assert store.recorded(run_id) == store.logged(run_id)


FULL = """
import os, sys
os.environ["RUNBACK_RECORD"] = "0"
import runback
from pathlib import Path
from runback.checkpoints.errors import CheckpointFailed
small, large = Path(sys.argv[1], "small.pt"), Path(sys.argv[1], "large.pt")
small.write_bytes(os.urandom(500_000))
large.write_bytes(os.urandom(12_000_000))
experiment = runback.init()
experiment.checkpoint(small, metrics={"loss": 1})
for background in (False, True):
    try:
        experiment.checkpoint(large, metrics={"loss": 0.5}, background=background)
    except CheckpointFailed as error:
        print(error)
experiment.checkpoint(small, metrics={"loss": 2})
experiment.stop()
"""


def test_full_disk_is_an_error_at_the_call_and_the_run_goes_on(
    store: Store, small_disk: Path, tmp_path: Path
) -> None:
    (small_disk / "mlruns").mkdir()
    (small_disk / "private").mkdir()
    shutil.copytree(store.root / ".runback", small_disk / "private", dirs_exist_ok=True)
    shutil.rmtree(store.root / ".runback")
    (store.root / ".runback").symlink_to(small_disk / "private")
    location = str(small_disk / "mlruns" / "0")
    query(store.database, "UPDATE experiments SET artifact_location = ?", location)
    done = store.train(FULL, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "the checkpoint of step 1 is not kept: No space left on device",
        "the checkpoint of step 2 is not kept: No space left on device",
    ]
    kept = check_whole(store)
    assert sorted(found.step for found in kept.values()) == [0, 3]
    assert models(store, 1) == {}
    assert [(p.step, p.value) for p in store.logged(next(iter(store.runs())))] == [(0, 1), (3, 2)]
    assert list((store.root / ".runback" / "drafts").iterdir()) == []
    assert list(store.runs().values()) == ["FINISHED"]


LATE = """
import os, shutil, sys
os.environ["RUNBACK_RECORD"] = "0"
import runback, runback.checkpoints.content as content
from pathlib import Path
from runback.checkpoints.errors import CheckpointFailed
Path("model.pt").write_bytes(b"x")
experiment = runback.init()
real = content.place
def place(*args):
    raise OSError(5, "Input/output error")
for at in ("checkpoint", "stop"):
    content.place = place
    experiment.checkpoint("model.pt", metrics={"loss": 1}, background=True)
    while not experiment._background._pending[0].done():
        pass
    content.place = real
    try:
        if at == "checkpoint":
            experiment.checkpoint("model.pt", metrics={"loss": 2})
        experiment.stop()
    except CheckpointFailed as error:
        print(at, error, experiment.latest)
"""


def test_failure_in_the_background_is_raised_at_the_next_call(store: Store) -> None:
    done = store.train(LATE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "checkpoint the checkpoint of step 0 is not kept: Input/output error None",
        "stop the checkpoint of step 1 is not kept: Input/output error None",
    ]
    assert list(store.runs().values()) == ["FINISHED"]


DAMAGED = """
import os, sys
os.environ["RUNBACK_RECORD"] = "0"
import runback
from pathlib import Path
Path("model.pt").write_bytes(b"right")
experiment = runback.init()
first = experiment.checkpoint("model.pt")
first.path.chmod(0o644)
first.path.write_bytes(b"wrong")
second = experiment.checkpoint("model.pt")
third = experiment.checkpoint("model.pt")
print(second.path.read_bytes(), second.path.samefile(third.path), first.path.samefile(third.path))
experiment.stop()
"""


def test_damaged_content_is_not_linked_again(store: Store) -> None:
    done = store.train(DAMAGED)
    assert (done.returncode, done.stdout) == (0, "b'right' True False\n"), done.stderr


def test_disk_without_links_gets_plain_copies(store: Store, small_disk: Path) -> None:
    (small_disk / "mlruns").mkdir()
    location = str(small_disk / "mlruns" / "0")
    query(store.database, "UPDATE experiments SET artifact_location = ?", location)
    done = store.train(
        "import runback\nopen('m.pt', 'w').write('x' * 1000)\n"
        "with runback.init() as e:\n e.checkpoint('m.pt')\n e.checkpoint('m.pt')"
    )
    assert done.returncode == 0, done.stderr
    assert len(check_whole(store)) == 2
    assert all(str(folder).startswith(str(small_disk)) for folder in models(store, 2).values())


def test_signal_while_a_checkpoint_waits(store: Store) -> None:
    """SIGTERM ends the run as KILLED; what was whole stays, what was not is not named."""
    code = (
        "import runback, time, os\nopen('m.pt', 'wb').write(os.urandom(100_000))\n"
        "e = runback.init()\ne.checkpoint('m.pt')\nprint('kept', flush=True)\n"
        "while True:\n e.checkpoint('m.pt', background=True)"
    )
    process = store.start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "kept\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGTERM, err
    assert list(store.runs().values()) == ["KILLED"]
    assert check_whole(store)
