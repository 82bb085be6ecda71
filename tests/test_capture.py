"""A script that only uses MLflow is recorded, wherever it logs to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from conftest import REPOSITORY, copy_project, plain_environ
from records import dump, is_sound, query, run_of
from test_lock import need_package_index
from training import make

from runback.record import check, files, manifest, metrics, state
from runback.store.places import scan

EVERYTHING = Path(__file__).with_name("everything.py")


def run(
    folder: Path, *words: str, status: int = 0, python: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(python or sys.executable), *words],
        cwd=folder,
        env=plain_environ(**more),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    assert "Exception in thread" not in done.stderr, done.stderr
    assert "warning: " not in done.stderr, done.stderr
    return done


def run_named(root: Path, name: str) -> Path:
    """Return the record of the run of this name."""
    ((run_id,),) = query(root / "mlflow.db", "SELECT run_uuid FROM runs WHERE name = ?", name)
    return scan(root / "mlruns").record(run_id)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store that plain MLflow made, where a script logged everything."""
    folder = tmp_path_factory.mktemp("a server é")
    (folder / "train.py").write_text(EVERYTHING.read_text())
    (folder / ".env").write_text("TOKEN=hunter2")
    run(folder, "train.py", "--api-key", "sk-123", WANDB_API_KEY="hunter2")
    return folder


def test_record_holds_the_code_and_the_circumstances(trained: Path) -> None:
    record = run_named(trained, "parent")
    known = manifest.read(record, run_of(record))
    assert known["recorded_by"] == "capture"
    assert known["missing"] == []
    assert known["command"]["script"] == "train.py"
    assert known["code"]["left_out"][".env"]
    assert known["environment"]["packages"]["mlflow"].startswith("3.")
    assert known["machine"]["cpu"]
    assert known["at_end"]["numerics"]
    with tarfile.open(record / files.CODE) as tar:
        content = tar.extractfile("train.py")
        assert content is not None
        assert content.read() == EVERYTHING.read_bytes()


def test_script_that_ends_at_once_is_known(tmp_path: Path) -> None:
    """Python takes __file__ from a script that has ended: the recorder comes later."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    # The recorder is held up until the script has ended.
    code = "import sys, mlflow\nsys.setswitchinterval(5)\nmlflow.start_run()\n"
    (project / "short.py").write_text(code)
    for _ in range(2):
        run(elsewhere, "../project/short.py")
    records = list(elsewhere.glob("mlruns/*/*/artifacts/runback"))
    assert len(records) == 2
    for record in records:
        known = manifest.read(record, run_of(record))
        assert known["command"]["script"] == "short.py"
        assert known["code"]["root"] == str(project)


def test_no_secret_is_in_the_record(trained: Path) -> None:
    for record in trained.glob("mlruns/*/*/artifacts/runback"):
        for path in record.iterdir():
            text = path.read_bytes()
            assert b"sk-123" not in text
            assert b"hunter2" not in text
    with tarfile.open(run_named(trained, "parent") / files.CODE) as tar:
        assert tar.getnames() == ["train.py"]


def test_output_is_kept_as_a_person_would_read_it(trained: Path) -> None:
    text = (run_named(trained, "parent") / files.OUTPUT).read_text()
    assert "hello from the run\n100% done\nto stderr\n" in text


PRINTED_LAST = """
import threading, mlflow
from runback.capture.recording import Recording
beat, looks, is_over = Recording.beat, threading.Event(), threading.Event()
def slow(recording):
    looks.set()
    is_over.wait()
    recording._next_s = 0
    beat(recording)
with mlflow.start_run():
    mlflow.log_metric("loss", 1)
    Recording.beat = slow
    looks.wait()
    print("the last word")
is_over.set()
"""


def test_what_is_printed_between_two_looks_is_in_the_record(tmp_path: Path, template: Path) -> None:
    store = make(tmp_path / "store", template)
    done = store.train(PRINTED_LAST)
    assert done.returncode == 0, done.stderr
    (run_id,) = store.runs()
    assert (store.record(run_id) / files.OUTPUT).read_text() == "the last word\n"


def test_every_run_of_the_process_is_recorded_and_whole(trained: Path) -> None:
    places = scan(trained / "mlruns")
    for name in ("parent", "child", "deleted"):
        record = run_named(trained, name)
        assert list(check.problems(record, run_of(record), places.artifacts)) == [], name
    ((parent,),) = query(
        trained / "mlflow.db",
        "SELECT value FROM tags JOIN runs USING (run_uuid)"
        " WHERE name = 'child' AND key = 'mlflow.parentRunId'",
    )
    assert parent == run_of(run_named(trained, "parent"))


def test_run_of_a_bare_client_gets_a_record_that_says_what_it_lacks(trained: Path) -> None:
    run(trained, "-m", "runback", "index")
    record = run_named(trained, "bare client")
    known = manifest.read(record, run_of(record))
    assert known["recorded_by"] == "index"
    assert "not captured" in known["missing"][0]
    assert state.read(record, run_of(record)).rows["runs"][0]["status"] == "FAILED"


def neutral(tables: dict[str, list[str]], root: Path) -> dict[str, list[str]]:
    """Return the rows without where the store lies, and without the empty default experiment."""
    place = str(root)
    return {
        table: sorted(row.replace(place, "") for row in rows if "'Default'" not in row)
        for table, rows in tables.items()
    }


def test_round_trip_is_lossless_table_by_table(trained: Path, tmp_path: Path) -> None:
    """From the folders alone, elsewhere: each row of each table, but for where things lie."""
    run(trained, "-m", "runback", "index")
    laptop = tmp_path / "a laptop"
    laptop.mkdir()
    subprocess.run(["cp", "-a", f"{trained}/mlruns", str(laptop)], check=True)
    done = run(laptop, "-m", "runback", "index")
    assert "4 runs: 4 adopted" in done.stdout
    here, there = dump(laptop / "mlflow.db"), dump(trained / "mlflow.db")
    assert {"logged_models", "model_versions", "registered_model_aliases", "spans"} <= here.keys()
    assert {"input_tags", "logged_model_metrics", "trace_tags"} <= here.keys()
    assert neutral(here, laptop) == neutral(there, trained)
    assert is_sound(laptop / "mlflow.db")


def test_rebuild_makes_the_same_and_keeps_the_old_database(trained: Path, tmp_path: Path) -> None:
    run(trained, "-m", "runback", "index")
    root = tmp_path / "server"
    subprocess.run(["cp", "-a", str(trained), str(root)], check=True)
    run(root, "-m", "runback", "index")
    before = dump(root / "mlflow.db")
    done = run(root, "-m", "runback", "index", "--rebuild")
    (old,) = root.glob(".runback/replaced/*/mlflow.db")
    assert str(old) in done.stderr
    assert neutral(dump(root / "mlflow.db"), root) == neutral(before, root)
    assert dump(old) == before
    (root / "mlflow.db").write_bytes(b"damaged" * 1000)
    run(root, "-m", "runback", "index", status=3)
    run(root, "-m", "runback", "index", "--rebuild")
    assert neutral(dump(root / "mlflow.db"), root) == neutral(before, root)


OPENS = """
import mlflow, sys
client = mlflow.MlflowClient()
for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
    if run.info.run_name == "parent":
        print(sorted(a.path for a in client.list_artifacts(run.info.run_id)))
        print(mlflow.artifacts.load_text(run.info.artifact_uri + "/notes/readme é.txt"))
        for uri in ("models:/best@champion", "models:/best/1"):
            print(mlflow.pyfunc.load_model(uri).predict(["x"]))
"""


def test_plain_store_that_was_moved_opens(trained: Path, tmp_path: Path) -> None:
    """One that no index has seen: made by MLflow alone, without records."""
    plain = tmp_path / "plain"
    plain.mkdir()
    run(plain, str(EVERYTHING), RUNBACK_RECORD="0")
    assert not list(plain.rglob("runback"))
    moved = tmp_path / "moved"
    plain.rename(moved)
    done = run(moved, "-m", "runback", "index")
    assert re.search(r"4 runs: .*4 recorded.*locations made right", done.stdout)
    out = run(moved, "-c", OPENS).stdout
    assert out.splitlines()[0] == "['notes', 'runback']"
    assert out.count("text") == 1
    assert out.count("['x']") == 2
    assert is_sound(moved / "mlflow.db")
    assert "nothing new" in run(moved, "-m", "runback", "index").stdout


def test_old_file_store_is_taken_in_and_not_changed(tmp_path: Path) -> None:
    """With a metric before log_model, which MLflow's own migration gives up at."""
    old = tmp_path / "old"
    old.mkdir()
    uri = f"file://{old}/mlruns"
    script = EVERYTHING.read_text().replace('with mlflow.start_span("step") as span', "if 0")
    run(
        old,
        "-c",
        script.replace("            span.set_inputs", "            pass #"),
        MLFLOW_ALLOW_FILE_STORE="true",
        MLFLOW_TRACKING_URI=uri,
    )
    moved = tmp_path / "moved"
    old.rename(moved)
    before = {p: p.read_bytes() for p in moved.rglob("*") if p.is_file()}
    done = run(moved, "-m", "runback", "index")
    assert "4 runs: " in done.stdout
    for path, content in before.items():
        assert path.read_bytes() == content, path
    assert f"MLFLOW_TRACKING_URI=sqlite:///{moved}/mlflow.db" in done.stderr
    out = run(moved, "-c", OPENS, MLFLOW_TRACKING_URI=f"sqlite:///{moved}/mlflow.db").stdout
    assert "notes" in out.splitlines()[0]
    assert out.count("['x']") == 2
    assert is_sound(moved / "mlflow.db")


SCRATCH = """
import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
mlflow.autolog()
LogisticRegression(max_iter=200).fit(*load_iris(return_X_y=True))
"""


def test_any_project_is_recorded_after_pip_install(tmp_path: Path) -> None:
    """A bare folder with a script; MLflow and scikit-learn, and the package by pip."""
    need_package_index()
    project = copy_project(tmp_path / "project")
    for name in ("README.md", "LICENSE"):
        (project / name).write_text((REPOSITORY / name).read_text())
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    packages = next((tmp_path / "venv").rglob("site-packages"))
    # The locked MLflow and scikit-learn, without downloading them again.
    mine = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(f"{mine}\n")
    words = [str(python), "-m", "pip", "install", "-q", "--no-deps", str(project)]
    subprocess.run(words, check=True, capture_output=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "train.py").write_text(SCRATCH)
    run(scratch, "train.py", python=python, PYTHONPATH="")
    (record,) = scratch.glob("mlruns/*/*/artifacts/runback")
    known = manifest.read(record, run_of(record))
    assert list(known["code"]["files"]) == ["train.py"]
    assert len(known["models"]) == 1
    rows = state.read(record, run_of(record)).rows
    assert {"key": "max_iter", "value": "200"}.items() <= next(
        row.items() for row in rows["params"] if row["key"] == "max_iter"
    )
    done = run(scratch, "-m", "runback", "index", python=python, PYTHONPATH="")
    assert "1 run: " in done.stdout
    whole = run(scratch, "-m", "runback", "verify", "--records", python=python, PYTHONPATH="")
    assert whole.stdout == f"{run_of(record)[:8]}  whole\n"


LIGHTNING = """
from pytorch_lightning.loggers import MLFlowLogger
logger = MLFlowLogger(experiment_name="x", run_name="lightning", tracking_uri="sqlite:///other.db")
logger.log_hyperparams({"lr": 0.1})
logger.log_metrics({"loss": 0.5}, step=1)
logger.finalize("success")
"""


def test_lightnings_logger_with_a_store_of_its_own(tmp_path: Path) -> None:
    """Found by a private map of MLflow's: this fails when it is gone."""
    (tmp_path / "train.py").write_text(LIGHTNING)
    run(tmp_path, "train.py")
    (record,) = tmp_path.glob("mlruns/*/*/artifacts/runback")
    known = manifest.read(record, run_of(record))
    assert known["state"] == "final"
    assert list(known["code"]["files"]) == ["train.py"]


def test_notebook_is_recorded(tmp_path: Path) -> None:
    cell = "import mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('a', 1)\n"
    cell += "import time; time.sleep(5)"
    notebook = {
        "cells": [
            {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "id": "a"}
            | {"execution_count": None}
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "train.ipynb").write_text(json.dumps(notebook))
    run(tmp_path, "-m", "jupyter", "execute", "train.ipynb")
    (record,) = tmp_path.glob("mlruns/*/*/artifacts/runback")
    known = manifest.read(record, run_of(record))
    assert known["command"]["notebook"] is True
    assert known["state"] == "final"
    assert list(known["code"]["files"]) == ["train.ipynb"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Return the address of an MLflow server that keeps everything in a folder of its own."""
    folder = tmp_path / "server"
    folder.mkdir()
    with servers.served(folder, tmp_path / "server.log") as address:
        yield address


VANISHED = """
import sqlite3, threading
from pathlib import Path
import mlflow
from runback.capture import recorder
from runback.capture.database import Database
from runback.capture.recording import Recording

recorder.BEAT_S = Database.beat_s = 0.05
begun, noted, note = threading.Event(), threading.Event(), Recording.note_missing
begin = Recording.begin
Recording.begin = lambda self: (begin(self), begun.set())
Recording.note_missing = lambda self, reason: (note(self, reason), noted.set())[0]
threading.excepthook = lambda failed: noted.set()
client, run = mlflow.MlflowClient(), mlflow.start_run()
assert begun.wait(180)
with sqlite3.connect("mlflow.db", timeout=180) as connection:
    connection.execute("DELETE FROM tags")
    connection.execute("DELETE FROM runs")
assert noted.wait(180)
try:
    mlflow.end_run()
except mlflow.MlflowException:
    print("gone")
with mlflow.start_run(run_name="second"):
    mlflow.log_metric("loss", 1.0)
"""


def test_run_that_vanishes_takes_no_other_with_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", VANISHED]
    done = subprocess.run(
        words, cwd=tmp_path, env=plain_environ(), capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "gone\n"), done.stderr
    said = rf"runback: (.*): run \w{{32}} is not in {tmp_path}/mlflow.db any more\n"
    (warning,) = re.findall(said, done.stderr)
    assert re.fullmatch(r"warning: the record of run \w{8} lacks something", warning)
    assert "Traceback" not in done.stderr
    record = run_named(tmp_path, "second")
    assert manifest.read(record, run_of(record))["state"] == manifest.FINAL
    assert [p.value for block in metrics.read(record / files.METRICS) for p in block] == [1.0]


ON_A_SERVER = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_param("lr", 0.1)
    mlflow.log_metric("loss", float("nan"), step=1)
    mlflow.log_metric("loss", 0.25, step=2)
print(run.info.run_id)
"""


def test_run_on_a_server_gets_the_record_as_artifacts(tmp_path: Path, server: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text(ON_A_SERVER)
    out = run(work, "train.py", MLFLOW_TRACKING_URI=server).stdout
    run_id = re.search(r"^[0-9a-f]{32}$", out, re.MULTILINE)
    assert run_id is not None
    (record,) = (tmp_path / "server").glob(f"mlartifacts/*/{run_id[0]}/artifacts/runback")
    assert {path.name for path in record.iterdir()} >= {*files.PARTS[:2], files.RUN, files.MANIFEST}
    assert list(check.problems(record, run_id[0], {})) == []
    rows = state.read(record, run_id[0]).rows
    assert rows["params"] == [{"key": "lr", "value": "0.1", "run_uuid": run_id[0]}]
    assert not list(work.glob("mlruns")), "nothing is left where the script ran"


def test_mlflow_starts_without_our_heavy_parts() -> None:
    """The plugin is loaded by every `import mlflow`: it must be next to nothing."""
    code = "import sys, runback.capture.provider; print(len([m for m in sys.modules"
    code += " if m.startswith('runback')]))"
    assert int(run(REPOSITORY, "-c", code).stdout) <= 3
