"""An experiment that DVC trains in a copy of the project trains in the container as well."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import dvcs
import pytest
from conftest import REPOSITORY, copy_project
from records import query

from runback.launch import engine

pytestmark = pytest.mark.engine
OF_DVC = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore")


def test_experiment_in_a_copy(tmp_path: Path) -> None:
    found = engine.find("docker")
    if not isinstance(found, engine.Engine):
        pytest.skip(f"needs an engine that answers ({found})")
    root = copy_project(tmp_path / "my project")
    for name in OF_DVC:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, root / name)
    kept = ("DOCKER_HOST", "RUNBACK_BUILD_ARGS", "RUNBACK_ENGINE_ARGS")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    environ = {**dvcs.environ(tmp_path), **given, "RUNBACK_ENGINE": "docker"}
    del environ["PYTHONPATH"]
    project = dvcs.DvcProject(root, environ)
    project.git("init", "--quiet", "--initial-branch=main")
    project.commit("start")
    printed = project.dvc("exp", "run", "--temp", "-n", "boxed", "-S", "train.epochs=1")
    assert "Ran experiment(s): boxed" in printed
    sql = "SELECT tags.value FROM tags JOIN runs USING (run_uuid) WHERE runs.name = ? AND key = ?"
    assert query(root / "mlflow.db", sql, "boxed", "dvc.exp_name") == [("boxed",)]
    (record,) = root.glob("mlruns/*/*/artifacts/runback/manifest.json")
    found = json.loads(record.read_text())
    assert "/.dvc/tmp/exps/" in found["code"]["root"]
    assert found["environment"]["image"].startswith("sha256:")
