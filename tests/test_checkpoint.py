"""A checkpoint: what is written of it, read back as a stranger's, and recorded by MLflow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, plain_environ
from hypothesis import given, settings
from hypothesis import strategies as st
from records import is_sound, query
from training import Store, make

import runback
from runback.checkpoints import values
from runback.errors import RecordError
from runback.record import checkpoint, files, manifest
from runback.record.checkpoint import Checkpoint
from runback.record.primary import PrimaryMetric

RUN, MODEL = "a" * 32, "m-" + "b" * 32
DIGEST = {"digest": "sha256:" + "c" * 64, "size_bytes": 3}


def stored(folder: Path, **changes: Any) -> Checkpoint:
    """Write a checkpoint into the artifacts of its model; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Checkpoint(
        *(RUN, MODEL, 3, "model.pt", {"loss": 0.5}, PrimaryMetric("loss", "minimize")),
        *(1_700_000_000_000, {"model.pt": DIGEST}),
    )
    made = dataclasses.replace(made, **changes)
    checkpoint.write(folder, made)
    return made


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = stored(tmp_path)
    assert checkpoint.read(tmp_path, MODEL) == made
    bare = stored(tmp_path, primary_metric=None, metrics={}, path="a b", files={"a b/c/d": DIGEST})
    assert checkpoint.read(tmp_path, MODEL) == bare


@settings(max_examples=25)
@given(st.dictionaries(st.text(), st.floats()), st.integers(-(2**63), 2**63 - 1))
def test_every_double_comes_back(
    tmp_path_factory: pytest.TempPathFactory, metrics: dict[str, float], step: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    stored(folder, metrics=metrics, step=step)
    found = checkpoint.read(folder, MODEL)
    assert found.step == step
    assert {name: math.copysign(1, value) for name, value in found.metrics.items()} == {
        name: 1 if math.isnan(value) else math.copysign(1, value) for name, value in metrics.items()
    }
    assert repr(found.metrics) == repr(metrics).replace("-nan", "nan")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("model_id", "m-" + "d" * 32),
        ("run_id", "../" + "a" * 29),
        ("run_id", None),
        ("step", True),
        ("step", 2**63),
        ("step", 1.5),
        ("path", ".."),
        ("path", "a/b"),
        ("path", "/"),
        ("path", "runback"),
        ("path", "a\0b"),
        ("metrics", {"loss": "0.5"}),
        ("metrics", {"loss": True}),
        ("metrics", {"loss": 10**400}),
        ("metrics", []),
        ("primary_metric", {"name": "loss", "goal": "max"}),
        ("created_ms", -1),
        ("files", {}),
        ("files", {"other.pt": DIGEST}),
        ("files", {"model.pt/../../x": DIGEST}),
        ("files", {"/model.pt": DIGEST}),
        ("files", {"model.pt//x": DIGEST}),
        ("files", {"model.pt": {**DIGEST, "digest": "md5:1"}}),
        ("files", {"model.pt": {**DIGEST, "size_bytes": "3"}}),
        ("files", {"model.pt": {"digest": DIGEST["digest"]}}),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    stored(tmp_path)
    path = tmp_path / "runback" / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(RecordError) as raised:
        checkpoint.read(tmp_path, MODEL)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 400 + len(str(path))


def test_links_and_missing_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / MODEL / "artifacts"
    with pytest.raises(RecordError, match="is missing"):
        checkpoint.read(folder, MODEL)
    stored(tmp_path / "elsewhere")
    folder.mkdir(parents=True)
    (folder / "runback").symlink_to(tmp_path / "elsewhere" / "runback")
    with pytest.raises(RecordError, match="symbolic link"):
        checkpoint.read(folder, MODEL)


class Eager:
    """A TensorFlow tensor: it has numpy(), and no item()."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def numpy(self) -> Any:
        return self.value


def test_numbers_as_training_loops_have_them() -> None:
    import numpy as np
    import torch

    given = {
        "float": 0.5,
        "bool": True,
        "numpy": np.float32(0.25),
        "0-d": np.array(3),
        "one element": np.array([[0.125]]),
        "torch": torch.tensor(1.5, requires_grad=True),
        "bfloat16": torch.tensor([2.0], dtype=torch.bfloat16),
        "tf": Eager(np.float64(0.75)),
        "decimal": Decimal("0.5"),
        "nan": math.nan,
    }
    problems: list[str] = []
    found = values.metrics_of(given, problems)
    assert problems == []
    assert all(type(value) is float for value in found.values())
    assert list(found.values())[:-1] == [0.5, 1.0, 0.25, 3.0, 0.125, 1.5, 2.0, 0.75, 0.5]
    assert math.isnan(found["nan"])


def test_what_is_no_number_is_named() -> None:
    import numpy as np
    import torch

    wrong = {
        "list": [0.5],
        "text": "0.5",
        "none": None,
        "many": np.zeros(3),
        "tensor": torch.zeros(2),
        "complex": 1j,
        "huge": 10**400,
        "symbolic": Eager(None),
    }
    problems: list[str] = []
    assert values.metrics_of(wrong, problems) == {}
    assert [problem.split("'")[1] for problem in problems] == list(wrong)
    problems.clear()
    values.metrics_of(
        {"a%": 1, "../a": 1, "a//b": 1, "": 1, "x" * 251: 1, 3: 1, "v/a b:c": 1}, problems
    )
    assert len(problems) == 6


def test_params_follow_mlflows_rules() -> None:
    problems: list[str] = []
    known = {"lr": "0.1", "seed": "1"}
    assert values.params_of({"lr": 0.1, "layers": [1, 2]}, known, problems) == {"layers": "[1, 2]"}
    assert problems == []
    values.params_of({"lr": 0.2, "a%": 1, "x": "y" * 6001}, known, problems)
    assert problems[0] == "param 'lr' is 0.1 in this run already, and not 0.2"
    assert len(problems) == 3
    values.params_of([("a", 1)], {}, problems)
    assert problems[3] == "params is [('a', 1)] (list), not a dict"


@pytest.mark.parametrize(
    ("value", "than", "goal", "expected"),
    [
        (1.0, None, "minimize", True),
        (math.nan, None, "minimize", False),
        (math.nan, 1.0, "maximize", False),
        (-math.inf, 1.0, "minimize", False),
        (0.5, 1.0, "minimize", True),
        (1.0, 1.0, "minimize", False),
        (2.0, 1.0, "maximize", True),
        (2.0, 3.0, "maximize", False),
    ],
)
def test_nan_is_never_best(value: float, than: float | None, goal: str, expected: bool) -> None:
    assert values.is_better(value, than, goal) is expected


EVERYTHING = """
import json, os, threading
from pathlib import Path
import runback

Path("model.pt").write_bytes(b"one" * 1000)
Path("folder/sub").mkdir(parents=True)
Path("folder/a.txt").write_text("a")
Path("folder/sub/b.txt").write_text("b")
Path("link.pt").symlink_to("model.pt")
experiment = runback.init(params={"lr": 0.1, "layers": [1, 2]}, experiment="digits", name="first")
kept = [
    experiment.checkpoint("model.pt", metrics={"loss": 0.5}, primary_metric=("loss", "minimize")),
    experiment.checkpoint("folder", metrics={"loss": 0.25, "accuracy": True}),
    experiment.checkpoint(metrics={"loss": float("nan")}),
    experiment.checkpoint(step=7, metrics={"loss": float("-inf")}),
    experiment.checkpoint("link.pt"),
]
Path("model.pt").write_bytes(b"two" * 1000)
kept.append(experiment.checkpoint("model.pt", metrics={"loss": 0.75}, background=True))
Path("model.pt").write_bytes(b"six" * 1000)
kept.append(experiment.checkpoint("model.pt", metrics={"loss": 0.75}, background=True))
threads = [
    threading.Thread(target=experiment.checkpoint, args=("model.pt",), kwargs={"step": step})
    for step in range(20, 28)
]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
experiment.stop()
experiment.stop()
latest, best = experiment.latest, experiment.best
print(json.dumps({
    "run": experiment.id, "steps": [c.step for c in kept], "paths": [str(c.path) for c in kept],
    "models": [c.model_id for c in kept], "latest": [latest.step, str(latest.path)],
    "best": [best.step, str(best.path), best.metrics],
}))
"""


@dataclasses.dataclass(frozen=True)
class Trained:
    store: Store
    said: dict[str, Any]

    @property
    def run(self) -> str:
        return str(self.said["run"])


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return make(tmp_path / "store", template)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Trained:
    store = make(tmp_path_factory.mktemp("checkpoints") / "a störe", template)
    done = store.train(EVERYTHING)
    assert done.returncode == 0, done.stderr
    return Trained(store, json.loads(done.stdout.splitlines()[-1]))


def test_copies_are_as_the_files_were(trained: Trained) -> None:
    paths = [Path(path) for path in trained.said["paths"]]
    assert trained.said["steps"] == [0, 1, 2, 7, 8, 9, 10]
    assert paths[0].read_bytes() == b"one" * 1000
    assert (paths[1] / "sub" / "b.txt").read_text() == "b"
    assert (str(paths[2]), trained.said["models"][2]) == ("None", None)
    assert (paths[4].name, paths[4].read_bytes()) == ("link.pt", b"one" * 1000)
    assert [path.read_bytes() for path in paths[5:]] == [b"two" * 1000, b"six" * 1000]
    assert paths[0].stat().st_mode & 0o777 == 0o444


def test_content_is_there_once(trained: Trained) -> None:
    paths = [Path(path) for path in trained.said["paths"]]
    assert paths[0].samefile(paths[4])
    objects = list((trained.store.root / ".runback" / "objects").glob("??/*"))
    assert len(objects) == 5  # one, two, six, a, b
    for path in objects:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name
    assert not list((trained.store.root / ".runback" / "drafts").iterdir())


def test_each_describes_itself(trained: Trained) -> None:
    described = checkpoint.read(Path(trained.said["paths"][1]).parent, trained.said["models"][1])
    assert (described.run_id, described.step, described.path) == (trained.run, 1, "folder")
    assert described.metrics == {"loss": 0.25, "accuracy": 1.0}
    assert described.primary_metric == PrimaryMetric("loss", "minimize")
    assert sorted(described.files) == ["folder/a.txt", "folder/sub/b.txt"]


def test_latest_and_best(trained: Trained) -> None:
    assert trained.said["latest"][0] == 27
    assert trained.said["best"] == [1, trained.said["paths"][1], {"loss": 0.25, "accuracy": 1.0}]
    tags = dict(query(trained.store.database, "SELECT key, value FROM tags"))
    assert tags["runback.primary_metric"] == "loss minimize"
    best = {"value": 0.25, "step": 1, "model_id": trained.said["models"][1]}
    assert json.loads(tags["runback.best"]) == best


def test_metrics_are_as_mlflow_has_them(trained: Trained) -> None:
    found = [(p.key, p.step, p.is_nan) for p in trained.store.logged(trained.run)]
    assert ("loss", 2, True) in found
    assert ("accuracy", 1, False) in found
    assert len(found) == 7
    sql = "SELECT key, value, step, is_nan FROM latest_metrics ORDER BY key"
    assert query(trained.store.database, sql) == [("accuracy", 1.0, 1, 0), ("loss", 0.75, 10, 0)]
    assert is_sound(trained.store.database)


def test_run_is_recorded_and_whole(trained: Trained) -> None:
    assert trained.store.runs() == {trained.run: "FINISHED"}
    params = dict(query(trained.store.database, "SELECT key, value FROM params"))
    assert params == {"lr": "0.1", "layers": "[1, 2]"}
    done = trained.store.runback("verify", trained.run)
    assert (done.returncode, done.stdout) == (0, f"{trained.run[:8]}  whole\n")


def test_record_holds_the_digests_of_every_file(trained: Trained) -> None:
    known = manifest.read(trained.store.record(trained.run), trained.run)["models"]
    assert known.keys() == {
        model_id
        for (model_id,) in query(trained.store.database, "SELECT model_id FROM logged_models")
    }
    for model_id, found in known.items():
        folder = next(trained.store.root.glob(f"mlruns/*/models/{model_id}/artifacts"))
        assert found == {
            path.relative_to(folder).as_posix(): files.digest(path)
            for path in folder.rglob("*")
            if path.is_file()
        }


def test_damage_of_files_and_description_is_found(trained: Trained, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.store.root, copy)
    changed = Path(trained.said["models"][0]) / "artifacts" / "model.pt"
    described = Path(trained.said["models"][1]) / "artifacts" / "runback" / "checkpoint.json"
    for name in (changed, described):
        (path,) = copy.glob(f"mlruns/*/models/{name}")
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"one", b"two").replace(b"0.25", b"0.24"))
    assert sorted(Store(copy).problems(trained.run)) == sorted(
        f"model {name.parts[0]}: {'/'.join(name.parts[2:])}: differs from its digest"
        for name in (changed, described)
    )


def test_whole_after_rsync_and_index_elsewhere(
    trained: Trained, tmp_path: Path, template: Path
) -> None:
    laptop = make(tmp_path / "laptop", template)
    shutil.copytree(trained.store.root / "mlruns", laptop.root / "mlruns", dirs_exist_ok=True)
    assert laptop.index()["adopted"] == [trained.run]
    assert laptop.problems(trained.run) == []
    for table in ("logged_models", "inputs", "logged_model_metrics"):
        columns = "model_id, metric_name, metric_step" if "metrics" in table else "*"
        if table == "logged_models":
            columns = "model_id, status, name, model_type, source_run_id"
        sql = f"SELECT {columns} FROM {table} ORDER BY 1, 2"
        assert query(laptop.database, sql) == query(trained.store.database, sql)


SEARCH = """
import json, sys, mlflow
client = mlflow.MlflowClient()
run = client.get_run(sys.argv[1])
steps = {output.model_id: output.step for output in run.outputs.model_outputs}
order = [{"field_name": "creation_time"}]
models = client.search_logged_models([run.info.experiment_id], order_by=order)
print(json.dumps([
    [m.name, m.model_type, m.status.value, steps[m.model_id],
     {x.key: x.value for x in m.metrics or ()},
     sorted(a.path for a in client.list_logged_model_artifacts(m.model_id))]
    for m in models if steps[m.model_id] < 20
]))
path = mlflow.artifacts.download_artifacts(f"models:/{sys.argv[2]}")
print(path)
"""


def test_mlflow_shows_step_and_metrics(trained: Trained) -> None:
    done = trained.store.train(SEARCH, trained.run, trained.said["models"][0])
    assert done.returncode == 0, done.stderr
    found, path = done.stdout.splitlines()
    assert json.loads(found) == [
        ["model", "checkpoint", "READY", 0, {"loss": 0.5}, ["model.pt", "runback"]],
        [
            "folder",
            "checkpoint",
            "READY",
            1,
            {"loss": 0.25, "accuracy": 1.0},
            ["folder", "runback"],
        ],
        ["link", "checkpoint", "READY", 8, {}, ["link.pt", "runback"]],
        ["model", "checkpoint", "READY", 9, {"loss": 0.75}, ["model.pt", "runback"]],
        ["model", "checkpoint", "READY", 10, {"loss": 0.75}, ["model.pt", "runback"]],
    ]
    assert (Path(path) / "model.pt").read_bytes() == b"one" * 1000


WRONG = """
import os, socket
from pathlib import Path
import runback
from runback.errors import RunbackError

os.mkfifo("pipe")
listening = socket.socket(socket.AF_UNIX); listening.bind("socket")
Path("empty").mkdir(); Path("mixed").mkdir(); os.mkfifo("mixed/pipe"); Path("runback").mkdir()
Path("mlruns").mkdir(exist_ok=True)
Path("model.pt").write_bytes(b"x")
def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ValueError as error:
        assert isinstance(error, RunbackError)
        print(error)
    else:
        print("taken")
refused(runback.init, params={"a%": 1, "b": "x" * 7000}, path="nowhere", experiment=3)
experiment = runback.init()
refused(experiment.checkpoint)
wrong = {"path": "nope", "step": 1.5, "metrics": {"loss": [1]}, "primary_metric": ("acc", "max")}
refused(experiment.checkpoint, **wrong)
for path in ("pipe", "socket", "empty", "mixed", "runback", ".", "mlruns", 3, ""):
    refused(experiment.checkpoint, path)
refused(experiment.checkpoint, metrics={"loss": 1}, primary_metric="loss")
experiment.checkpoint(metrics={"loss": 1}, primary_metric=("loss", "minimize"))
refused(experiment.checkpoint, metrics={"loss": 1}, primary_metric=("loss", "maximize"))
refused(experiment.checkpoint, "model.pt", step=2**63)
experiment.stop()
refused(experiment.checkpoint, "model.pt")
"""
SAID = """\
4 problems in init()
  path 'nowhere' does not exist
  param 'a%': MLflow takes letters, digits, blanks and _-.:/ in a name, / as in a relative path
  param 'b' has 7,000 characters, more than 6,000
  experiment is 3, not a name
1 problem in checkpoint()
  path and metrics are both missing: there is nothing to keep
5 problems in checkpoint()
  path 'nope': No such file or directory
  metric 'loss' is [1] (list), not one number
  step is 1.5 (float), not a whole number
  the goal of primary_metric is 'max': it is "minimize" or "maximize"
  primary_metric 'acc' is not among the metrics (loss)
1 problem in checkpoint()
  {root}/pipe is no file or folder
1 problem in checkpoint()
  {root}/socket is no file or folder
1 problem in checkpoint()
  path 'empty' holds no file
1 problem in checkpoint()
  {root}/mixed/pipe is no file or folder
2 problems in checkpoint()
  path 'runback': a checkpoint cannot be called 'runback'
  path 'runback' holds no file
1 problem in checkpoint()
  path '.' holds the store {root} itself
1 problem in checkpoint()
  path 'mlruns' holds the store {root} itself
1 problem in checkpoint()
  path is 3, not a path
1 problem in checkpoint()
  path is empty
1 problem in checkpoint()
  primary_metric is 'loss' (str), not like ("loss", "minimize")
1 problem in checkpoint()
  primary_metric is loss maximize, and loss minimize in this run already
1 problem in checkpoint()
  step is 9223372036854775808, which has more than 64 bits
1 problem in checkpoint()
  the experiment has been stopped; runback.resume continues its run
"""


def test_all_problems_are_said_at_the_call(store: Store) -> None:
    done = store.train(WRONG)
    assert done.returncode == 0, done.stderr
    assert done.stdout == SAID.format(root=store.root)
    assert query(store.database, "SELECT COUNT(*) FROM logged_models") == [(0,)]
    assert len(store.runs()) == 1


ENDINGS = """
import os
os.environ["RUNBACK_RECORD"] = "0"
import mlflow, runback

def end(name, error):
    try:
        with runback.init(name=name) as experiment:
            experiment.checkpoint(metrics={"x": 1})
            if error:
                raise error
    except BaseException as raised:
        assert raised is error

end("fine", None)
end("failed", RuntimeError("no"))
end("killed", KeyboardInterrupt())
end("exit", SystemExit(0))
end("exit 1", SystemExit(1))
with mlflow.start_run(run_name="joined") as run:
    with runback.init(params={"a": 1}) as experiment:
        assert experiment.id == run.info.run_id
        experiment.checkpoint(metrics={"x": 1}, step=4)
    mlflow.log_metric("after", 1)
    assert mlflow.active_run().info.run_id == run.info.run_id
open("model.pt", "w").write("x")
runback.init(name="never stopped").checkpoint("model.pt", background=True)
"""


def test_status_says_how_it_ended(store: Store) -> None:
    done = store.train(ENDINGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert dict(query(store.database, "SELECT name, status FROM runs")) == {
        "fine": "FINISHED",
        "failed": "FAILED",
        "killed": "KILLED",
        "exit": "FINISHED",
        "exit 1": "FAILED",
        "joined": "FINISHED",
        "never stopped": "FINISHED",
    }
    assert query(store.database, "SELECT status, name FROM logged_models") == [(2, "model")]
    assert list((store.root / ".runback" / "running").iterdir()) == []


def test_script_that_fails_without_with_has_a_failed_run(store: Store) -> None:
    code = "import runback\nrunback.init().checkpoint(metrics=dict(x=1))\nraise {}"
    for error, status in (("KeyError(1)", "FAILED"), ("KeyboardInterrupt", "KILLED")):
        done = store.train(code.format(error), RUNBACK_RECORD="0")
        assert done.returncode != 0
        assert list(store.runs().values()).count(status) == 1, done.stderr


UNUSUAL = """
import os
os.environ["RUNBACK_RECORD"] = "0"
import runback
from runback.checkpoints.errors import CheckpointFailed
experiment = runback.init()
for name in ("1", "2", "3", "4", "5", "6"):  # by chance, each would be the first of one step's
    open(name, "w").write(name)
    experiment.checkpoint(name, step=7)
    assert experiment.latest.path.read_text() == name
open(b"w\\xff.pt", "w").write("weights")
print(ascii(experiment.checkpoint(os.fsdecode(b"w\\xff.pt")).path.read_text()))
experiment.stop()
experiment = runback.resume(experiment.id)
for name in ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm"):
    if os.path.exists(name):
        os.rename(name, f"moved-{name}")
try:
    experiment.checkpoint("1")
except CheckpointFailed as error:
    print(error)
print(os.path.exists("mlflow.db"))
os._exit(0)
"""


def test_unusual_steps_names_and_databases(store: Store) -> None:
    done = store.train(UNUSUAL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "'weights'",
        "the checkpoint of step 9 is not kept: unable to open database file",
        "False",
    ]
    moved = store.root / "moved-mlflow.db"
    names = query(moved, "SELECT name FROM logged_models ORDER BY creation_timestamp_ms")
    assert names[-1] == ("w?",)


FORKED = """
import os
os.environ["RUNBACK_RECORD"] = "0"
import runback
experiment = runback.init()
open("model.pt", "w").write("x")
experiment.checkpoint("model.pt", background=True)
child = os.fork()
if child == 0:
    exit()  # its handlers run; MLflow's too, which would end the run
assert os.waitpid(child, 0)[1] == 0
assert len(os.listdir(".runback/running")) == 1
experiment.checkpoint("model.pt", metrics={"x": 1})
experiment.stop()
"""


def test_forked_child_leaves_the_run_alone(store: Store) -> None:
    done = store.train(FORKED)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(store.runs().values()) == ["FINISHED"]
    assert query(store.database, "SELECT status FROM logged_models") == [(2,), (2,)]


def test_the_projects_own_store_is_made(tmp_path: Path) -> None:
    project = tmp_path / "my projéct"
    (project / "src").mkdir(parents=True)
    script = project / "train.py"
    script.write_text(
        "import runback\n"
        "with runback.init(path=__file__) as e:\n"
        "    print(e.checkpoint(__file__, metrics={'loss': 1}).path)\n"
    )
    words = [sys.executable, str(script)]
    done = subprocess.run(
        words, cwd=project / "src", env=plain_environ(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{project}/mlruns/0/models/m-")
    assert query(project / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",)]


TWO_STORES = """
import os
os.environ["RUNBACK_RECORD"] = "0"
import runback
with runback.init(path="a", experiment="group", name="in a") as e:
    open("model.pt", "w").write("x")
    print(e.checkpoint("model.pt").path)
with runback.init(path="b", experiment="group", name="in b") as e:
    print(e.checkpoint("model.pt").path)
runback.resume("in a", path="a").stop()
import mlflow
mlflow.set_tracking_uri("sqlite:///" + os.path.abspath("a/mlflow.db"))
runback.init(path="b", name="as mlflow was told").stop()
"""


def test_a_process_logs_to_two_stores_one_after_the_other(tmp_path: Path, template: Path) -> None:
    stores = [make(tmp_path / name, template) for name in "ab"]
    done = subprocess.run(
        [sys.executable, "-c", TWO_STORES],
        cwd=tmp_path,
        env=plain_environ(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for store, path in zip(stores, done.stdout.splitlines(), strict=True):
        assert path.startswith(f"{store.root}/mlruns/1/models/m-")
    sql = "SELECT name, status FROM runs ORDER BY start_time"
    assert query(stores[0].database, sql) == [
        ("in a", "FINISHED"),
        ("as mlflow was told", "FINISHED"),
    ]
    assert query(stores[1].database, sql) == [("in b", "FINISHED")]


def test_importing_is_light() -> None:
    code = "import sys, runback; print(*sys.modules); runback.init"
    out = subprocess.check_output([sys.executable, "-c", code], cwd=REPOSITORY, text=True)
    loaded = set(out.split())
    assert not {"mlflow", "numpy", "sqlite3", "json", "runback.checkpoints"} & loaded
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        runback.nothing  # noqa: B018
