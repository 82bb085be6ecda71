"""A run of a container is replayed in its image: from the host, and in a container of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import copy_project, plain_environ

from runback.launch import engine

pytestmark = pytest.mark.engine


FIT = """
import mlflow

with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0)
"""


@pytest.fixture(autouse=True)
def _needs_an_engine() -> None:
    found = engine.find("docker")
    if not isinstance(found, engine.Engine):
        pytest.skip(f"needs an engine that answers ({found})")


def run(root: Path, *words: str) -> str:
    """Run a command of the project's user; return what it printed."""
    # Of the variables that the tests run with, those of the engine alone: not their store's.
    kept = ("RUNBACK_BUILD_ARGS", "RUNBACK_ENGINE_ARGS")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    environ = {**plain_environ(PYTHONPATH=str(root)), **given, "RUNBACK_ENGINE": "docker"}
    done = subprocess.run(words, cwd=root, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def replayed(root: Path, *program: str) -> dict[str, Any]:
    found = json.loads(run(root, *program, "replay", "@latest", "--json"))
    assert isinstance(found, dict)
    return found


def test_replayed_from_the_host_and_inside(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "my project", git=True)
    run(root, "./run_script.bash", "python", "train_mlflow.py", "--epochs", "2")
    found = replayed(root, sys.executable, "-m", "runback")
    assert found["verdict"] == "identical"
    assert "the recorded image sha256:" in found["environment"]
    assert not [drift for drift in found["drifts"] if drift["kind"] in ("image", "package")]
    found = replayed(root, "./run_script.bash", "runback")
    assert (found["verdict"], found["environment"]) == (
        "identical",
        "this container, of the recorded image",
    )


def test_replayed_where_the_project_is_a_part_of_its_repository(tmp_path: Path) -> None:
    """The launcher is below the top of the code then."""
    top = tmp_path / "several projects"
    top.mkdir()
    root = copy_project(top / "one")
    (root / "fit.py").write_text(FIT)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        subprocess.run(git, cwd=top, check=True)
    run(root, "./run_script.bash", "python", "fit.py")
    found = replayed(root, sys.executable, "-m", "runback")
    assert found["verdict"] == "identical"
    assert "the recorded image sha256:" in found["environment"]
    assert replayed(root, "./run_script.bash", "runback")["verdict"] == "identical"
