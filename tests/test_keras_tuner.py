"""docs/keras-tuner.md is true, with the real Keras Tuner, which is not in the lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, copy_project
from pages import commands, typed
from records import query
from screens import run
from sessions import blocks, pattern, steps
from test_lock import need_package_index

PAGE = (REPOSITORY / "docs" / "keras-tuner.md").read_text()
SESSION = [step for block in blocks(PAGE) for step in steps(block)]
# What it needs besides is in the lock.
PACKAGES = ("keras-tuner==1.4.8", "kt-legacy==1.0.5")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a copy of the project with the page's script, and a PYTHONPATH with Keras Tuner."""
    need_package_index()
    folder = tmp_path_factory.mktemp("tuner")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PACKAGES]
    subprocess.run([sys.executable, *install], check=True)
    root = copy_project(tmp_path_factory.mktemp("page") / "project", git=True)
    (root / ".gitignore").write_text("/mlruns/\n/mlflow.db*\n/.runback/\n/outputs/\n")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (root / "tune.py").write_text(code)
    paths = os.pathsep.join((str(root), str(folder)))
    return root, commands(root.parent) | {"PYTHONPATH": paths}


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:40])
def test_session_prints_what_the_page_shows(
    place: tuple[Path, dict[str, str]], command: str, expected: list[str]
) -> None:
    root, environ = place
    screen, shown = typed(command, root, environ)
    assert screen.status == 0, screen.text
    assert re.fullmatch(pattern(expected), shown), screen.text


def test_trials_are_below_the_search_with_the_values_that_the_tuner_chose(
    place: tuple[Path, dict[str, str]],
) -> None:
    database = place[0] / "mlflow.db"
    sql = "SELECT name, key, params.value FROM runs JOIN params USING (run_uuid)"
    sql += " WHERE key IN ('filters', 'learning_rate') AND run_uuid NOT IN"
    sql += " (SELECT run_uuid FROM tags WHERE key = 'runback.replay_of') ORDER BY name, key"
    names = [row[:2] for row in query(database, sql)]
    assert names == [
        *(("trial-0", "filters"), ("trial-0", "learning_rate")),
        *(("trial-1", "filters"), ("trial-1", "learning_rate")),
    ]
    parents = "SELECT count(*), count(DISTINCT value) FROM tags WHERE key = 'mlflow.parentRunId'"
    assert query(database, parents) == [(4, 2)]  # of the search, and of its replay


AUTOLOG = """
import keras, keras_tuner, mlflow, numpy as np

x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(hp.Choice("units", [2, 3]))])
    model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.1, 0.2])), "mse")
    return model
mlflow.keras.autolog(log_models=False)
def search(name):
    tuner = keras_tuner.GridSearch(build, "val_loss", max_trials=2, project_name=name)
    tuner.search(x, x[:, :1], epochs=1, validation_split=0.5, verbose=0)
search("alone")
with mlflow.start_run(run_name="all"):
    search("inside")
"""


def test_autolog_alone_logs_what_the_page_says(
    place: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environ = {
        **place[1],
        "MLFLOW_TRACKING_URI": uri,
        "KERAS_BACKEND": "torch",
        "RUNBACK_RECORD": "0",
    }
    done = run((sys.executable, "-c", AUTOLOG), tmp_path, environ)
    assert done.status == 0, done.text
    assert "Changing param values is not allowed" in done.text
    sql = "SELECT (name = 'all') AS inside, count(DISTINCT run_uuid), count(*) FROM runs"
    sql += " JOIN metrics USING (run_uuid) WHERE key = 'val_loss' GROUP BY inside ORDER BY inside"
    assert query(tmp_path / "mlflow.db", sql) == [(0, 2, 2), (1, 1, 2)]
    names = "SELECT count(*) FROM params WHERE key IN ('units', 'rate')"
    assert query(tmp_path / "mlflow.db", names) == [(0,)]
    parents = "SELECT count(*) FROM tags WHERE key = 'mlflow.parentRunId'"
    assert query(tmp_path / "mlflow.db", parents) == [(0,)]
