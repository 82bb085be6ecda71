"""A run of a container is replayed in its image: from the host, and in a container of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_project, plain_environ

from runback.launch import engine

pytestmark = pytest.mark.engine


def test_replayed_from_the_host_and_inside(tmp_path: Path) -> None:
    found = engine.find("docker")
    if not isinstance(found, engine.Engine):
        pytest.skip(f"needs an engine that answers ({found})")
    root = copy_project(tmp_path / "my project", git=True)
    # Of the variables that the tests run with, those of the engine alone: not their store's.
    kept = ("RUNBACK_BUILD_ARGS", "RUNBACK_ENGINE_ARGS")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    environ = {**plain_environ(PYTHONPATH=str(root)), **given, "RUNBACK_ENGINE": "docker"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=root, env=environ, capture_output=True, text=True, timeout=600
        )

    done = run("./run_script.bash", "python", "train_mlflow.py", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    words = (sys.executable, "-m", "runback", "replay", "@latest", "--json")
    done = run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "identical"
    assert "the recorded image sha256:" in found["environment"]
    assert not [drift for drift in found["drifts"] if drift["kind"] in ("image", "package")]
    done = run("./run_script.bash", "runback", "replay", "@latest", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["environment"]) == (
        "identical",
        "this container, of the recorded image",
    )
