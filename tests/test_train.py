"""The trainings, run as a user runs them: same bits each time, tracked or not."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, copy_project
from processes import Started

EPOCHS = 3


@dataclass(frozen=True)
class Place:
    """A copy of the project in a git repository of its own."""

    root: Path

    def start(
        self, *command: str, cwd: Path | None = None, **environ: str
    ) -> subprocess.Popen[str]:
        ours = ("MLFLOW", "_MLFLOW", "RUNBACK", "KERAS", "TF_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) and k != "PYTHONPATH"}
        return Started(
            [sys.executable, *command],
            cwd=cwd or self.root,
            env={**kept, "KERAS_HOME": str(self.root / "keras"), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *command: str, cwd: Path | None = None, **environ: str) -> Done:
        process = self.start(*command, cwd=cwd, **environ)
        out, err = process.communicate(timeout=300)
        return Done(process.returncode, out, err)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        if not (self.root / "mlflow.db").exists():
            return []  # nor made by us: the training would take it for a store
        connection = sqlite3.connect(self.root / "mlflow.db")
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def run_id(self, done: Done) -> str:
        short = re.findall(r"\(([0-9a-f]{8})\)", done.out)[-1]
        ((run_id,),) = self.query(f"SELECT run_uuid FROM runs WHERE run_uuid LIKE '{short}%'")
        return str(run_id)


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def weights(self) -> str:
        assert self.status == 0, self.err
        return str(re.findall(r"weights (sha256:[0-9a-f]{12})", self.out)[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(copy_project(tmp_path_factory.mktemp("place") / "my project", git=True))


@pytest.fixture(scope="module", params=["tensorflow", "torch"])
def keras_runs(request: pytest.FixtureRequest, place: Place) -> tuple[str, Done, Done, Done]:
    """Return a backend, two runs of train.py and one of train_mlflow.py with it."""
    backend = request.param
    epochs = ("--epochs", str(EPOCHS))
    twice = [place.run("train.py", *epochs, KERAS_BACKEND=backend) for _ in range(2)]
    return backend, *twice, place.run("train_mlflow.py", *epochs, KERAS_BACKEND=backend)


def test_same_seed_gives_the_same_bits(keras_runs: tuple[str, Done, Done, Done]) -> None:
    _, one, two, _ = keras_runs
    assert one.weights == two.weights


def test_tracking_changes_nothing(keras_runs: tuple[str, Done, Done, Done]) -> None:
    _, one, _, tracked = keras_runs
    assert tracked.weights == one.weights


def test_everything_is_tracked(keras_runs: tuple[str, Done, Done, Done], place: Place) -> None:
    _, _, _, tracked = keras_runs
    run = place.run_id(tracked)
    params = dict(place.query(f"SELECT key, value FROM params WHERE run_uuid='{run}'"))
    assert {"learning_rate", "seed", "threads", "dataset", "optimizer_name"} <= params.keys()
    metrics = f"SELECT key, count(*) FROM metrics WHERE run_uuid='{run}' GROUP BY key"
    counts = dict(place.query(metrics))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert counts[name] == EPOCHS
    assert counts["system/cpu_utilization_percentage"] >= 1
    tags = dict(place.query(f"SELECT key, value FROM tags WHERE run_uuid='{run}'"))
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=place.root, text=True)
    assert tags["mlflow.source.git.commit"] == commit.strip()
    datasets = f"SELECT count(*) FROM inputs WHERE destination_id='{run}' AND source_type='DATASET'"
    assert place.query(datasets) == [(2,)]
    assert place.query(f"SELECT status FROM runs WHERE run_uuid='{run}'") == [("FINISHED",)]


def test_figure_summary_and_model_are_kept(
    keras_runs: tuple[str, Done, Done, Done], place: Place
) -> None:
    backend, _, _, tracked = keras_runs
    run = place.run_id(tracked)
    ((uri,),) = place.query(f"SELECT artifact_uri FROM runs WHERE run_uuid='{run}'")
    artifacts = Path(uri)
    assert artifacts.is_relative_to(place.root / "mlruns")
    assert (artifacts / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert "conv2d" in (artifacts / "model_summary.txt").read_text()
    switches = json.loads((artifacts / "determinism.json").read_text())
    assert switches[f"{backend}_threads"] == 1
    models = "SELECT artifact_location FROM logged_models WHERE source_run_id"
    ((location,),) = place.query(f"{models}='{run}'")
    assert zipfile.is_zipfile(Path(location) / "data" / "model.keras")
    assert "keras==" in (Path(location) / "requirements.txt").read_text()


def test_outputs_are_written(keras_runs: tuple[str, Done, Done, Done], place: Place) -> None:
    outputs = place.root / "outputs"
    history = json.loads((outputs / "history.json").read_text())
    assert history["params"]["epochs"] == EPOCHS
    assert len(history["history"]["val_accuracy"]) == EPOCHS
    last = json.loads((outputs / "metrics.json").read_text())
    assert last["val_accuracy"] == history["history"]["val_accuracy"][-1] > 0.9
    assert (outputs / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert zipfile.is_zipfile(outputs / "model.keras")


def test_progress_is_a_line_per_epoch_in_a_log(
    keras_runs: tuple[str, Done, Done, Done],
) -> None:
    _, one, _, _ = keras_runs
    assert re.findall(r"^Epoch (\d)/3$", one.out, flags=re.MULTILINE) == ["1", "2", "3"]
    assert "\x08" not in one.out
    assert "\x1b" not in one.out


@pytest.fixture(scope="module")
def plain_weights(place: Place) -> str:
    """Return what one epoch gives with the parameters as they are."""
    return place.run("train.py", "--epochs=1").weights


@pytest.mark.parametrize("option", ["--seed=43", "--learning-rate=0.003", "--batch-size=33"])
def test_another_parameter_gives_other_bits(place: Place, plain_weights: str, option: str) -> None:
    """Else equal digests would prove nothing."""
    assert place.run("train.py", "--epochs=1", option).weights != plain_weights


@pytest.fixture(scope="module")
def lightning_runs(place: Place) -> list[Done]:
    """Return a run as the parameters say, without workers, and two with workers."""
    command = ("train_lightning.py", "--epochs", str(EPOCHS))
    return [place.run(*command, *more) for more in ((), *[("--workers", "2")] * 2)]


def test_lightning_gives_the_same_bits_with_workers_and_without(
    lightning_runs: list[Done], place: Place
) -> None:
    assert len({done.weights for done in lightning_runs}) == 1
    sql = "SELECT value FROM params WHERE key = 'workers' AND run_uuid = "
    workers = [place.query(f"{sql}'{place.run_id(done)}'") for done in lightning_runs]
    assert workers == [[("0",)], [("2",)], [("2",)]]


def test_lightning_is_tracked(lightning_runs: list[Done], place: Place) -> None:
    run = place.run_id(lightning_runs[0])
    metrics = f"SELECT key, count(*) FROM metrics WHERE run_uuid='{run}' GROUP BY key"
    counts = dict(place.query(metrics))
    assert counts["val_accuracy"] == counts["accuracy"] == EPOCHS
    models = "SELECT artifact_location FROM logged_models WHERE source_run_id"
    ((location,),) = place.query(f"{models}='{run}'")
    assert not list(Path(location).rglob("*.pkl"))
    assert list(Path(location).rglob("*.pt2"))


def test_script_started_in_a_subfolder_logs_to_the_projects_store(place: Place) -> None:
    """And to the experiment that the environment names."""
    folder = place.root / "sub"
    folder.mkdir()
    named = {"MLFLOW_EXPERIMENT_NAME": "mine"}
    run = place.run_id(place.run("../train_mlflow.py", "--epochs=1", cwd=folder, **named))
    assert list(folder.iterdir()) == []
    sql = "SELECT e.name FROM experiments e JOIN runs USING (experiment_id) WHERE run_uuid="
    assert place.query(f"{sql}'{run}'") == [("mine",)]


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal; return what was said on stderr.

    And again after a minute, as a person would: what a handler raises where numpy looks at
    a tensor is forgotten in C, once in some 500 times (python -m bench.interrupts).
    """
    for _ in range(3):
        process.send_signal(number)
        try:
            return process.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"{number.name} ends nothing")


@pytest.mark.parametrize("script", ["train_mlflow.py", "train_lightning.py"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_is_killed_and_keeps_what_was_logged(
    place: Place, script: str, number: signal.Signals, status: int
) -> None:
    process = place.start(script, "--epochs=5000", MLFLOW_EXPERIMENT_NAME=f"stop {script} {number}")
    sql = (
        "SELECT run_uuid, status, count(m.value) FROM runs JOIN experiments e USING (experiment_id)"
        " LEFT JOIN metrics m USING (run_uuid)"
        f" WHERE e.name='stop {script} {number}' AND m.key='val_loss' GROUP BY run_uuid"
    )
    deadline = time.monotonic() + 120
    while not (rows := place.query(sql)) or rows[0][2] < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    err = stopped(process, number)
    assert process.returncode == status
    assert "Traceback" not in err
    ((_, final, kept),) = place.query(sql)
    assert final == "KILLED"
    assert kept >= rows[0][2]


def test_interrupted_training_ends_without_a_traceback(place: Place) -> None:
    process = place.start("train.py", "--epochs=5000")
    assert process.stdout is not None
    assert any("Epoch 3/" in line for line in process.stdout)
    err = stopped(process, signal.SIGINT)
    assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err


@pytest.mark.parametrize("script", ["train.py", "train_mlflow.py", "train_lightning.py"])
def test_bad_parameters_end_before_the_slow_imports(place: Place, script: str) -> None:
    done = place.run("-X", "importtime", script, "--epochs=0", "--treads=2")
    assert done.status == 2
    messages = [line for line in done.err.splitlines() if not line.startswith("import time:")]
    assert messages == [
        "error: 2 problems in the parameters",
        "  epochs = '0' (--epochs): must be a whole number from 1 to 10000",
        "  --treads: no such option; did you mean --threads?",
        f"hint: python {script} --help",
    ]
    imported = set(re.findall(r"\| +([\w.]+)$", done.err, flags=re.MULTILINE))
    assert not imported & {"keras", "mlflow", "numpy", "tensorflow", "torch", "pytorch_lightning"}


def test_backend_that_is_not_in_the_lock_is_named(place: Place) -> None:
    done = place.run("train.py", KERAS_BACKEND="jax")
    assert (done.status, done.err) == (
        3,
        "error: KERAS_BACKEND=jax: the lock has tensorflow and torch\n",
    )


DOWNLOAD = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
from keras.src.utils import file_utils
def urlretrieve(url, filename, *rest):
    with open(filename, "wb") as file:
        file.write(b"<html>captive portal</html>")
file_utils.urlretrieve = urlretrieve
import train
from runback.terminal import ended
sys.argv = ["train.py", "--dataset", sys.argv[1]]
sys.exit(ended(train.main))
"""


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "cifar10"])
def test_corrupt_download_is_one_clear_message(place: Place, dataset: str) -> None:
    done = place.run("-c", DOWNLOAD, dataset)
    assert done.status == 3
    assert f"error: the data set {dataset} could not be had or read (in " in done.err
    assert "--dataset digits" in done.err
    assert "Traceback" not in done.err


def test_failed_run_is_marked_so(place: Place) -> None:
    """A port nobody listens on: the download fails at once, offline and online."""
    done = place.run(
        *("train_mlflow.py", "--dataset=mnist"),
        https_proxy="http://127.0.0.1:9",
        MLFLOW_EXPERIMENT_NAME="failing",
    )
    assert done.status == 3
    assert "error: the data set mnist could not be had or read" in done.err
    sql = "SELECT status FROM runs JOIN experiments e USING (experiment_id) WHERE e.name='failing'"
    assert place.query(sql) == [("FAILED",)]


def test_training_knows_nothing_of_mlflow() -> None:
    code = "import sys, train; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    assert "mlflow" not in (REPOSITORY / "train.py").read_text().lower()
