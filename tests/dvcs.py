"""A real DVC for the tests, from the project's own lock, and a small project that uses it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPOSITORY, plain_environ

from runback.locked import locked

LOCK = REPOSITORY / "requirements-dvc.txt"


def environment() -> Path:
    """Return a virtual environment with DVC and DVCLive, made once for a lock.

    Skips the test where no package index answers.
    """
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = REPOSITORY / ".runback" / f"dvc-{digest}"
    folder.parent.mkdir(exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            _make(folder)
    return folder


def _make(folder: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv is not None, "uv is in the lock"
    shutil.rmtree(folder, ignore_errors=True)
    environ = {**os.environ, "VIRTUAL_ENV": str(folder)}
    for words in (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        ["pip", "install", "--quiet", "--require-hashes", "--requirement", str(LOCK)],
    ):
        done = subprocess.run([uv, *words], env=environ, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"needs a package index, to install DVC from: {done.stderr.strip()[-300:]}")
    (folder / "complete").touch()


@dataclass(frozen=True)
class DvcProject:
    """A project with git and DVC. environ: has dvc on the PATH, and runback and this Python."""

    root: Path
    environ: dict[str, str]

    def run(self, *words: str, status: int = 0, **more: str) -> str:
        """Run a command in it; return what it printed. Its status must be this one."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def dvc(self, *words: str, status: int = 0, **more: str) -> str:
        return self.run("dvc", *words, status=status, **more)

    def git(self, *words: str, status: int = 0) -> str:
        return self.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words, status=status)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def runback(self, *words: str, status: int = 0, **more: str) -> str:
        return self.run("python", "-m", "runback", *words, status=status, **more)

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)


def environ(folder: Path, **more: str) -> dict[str, str]:
    """Return the variables of who has DVC. folder: for a home of its own, and commands."""
    home, commands = folder / "home", folder / "commands"
    for place in (home, commands):
        place.mkdir(exist_ok=True)
    python = commands / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (home / ".gitconfig").write_text(
        "[user]\nname = a\nemail = a@b.c\n[init]\ndefaultBranch=main\n"
    )
    path = f"{commands}:{environment() / 'bin'}:{os.environ['PATH']}"
    return plain_environ(PATH=path, HOME=str(home), DVC_NO_ANALYTICS="1", **more)


TRAIN = """\
import json, os, time
from pathlib import Path
import mlflow, yaml
import runback

params = yaml.safe_load(Path("params.yaml").read_text())["train"]
rate = float(params["rate"])
with runback.init(params={"rate": rate}) as experiment:
    weight = 0.0
    for step, line in enumerate(Path("data/numbers.txt").read_text().split()):
        weight += rate * (float(line) - weight)
        mlflow.log_metric("weight", weight, step=step)
    while os.path.exists(os.environ.get("HOLD", "")):
        time.sleep(0.05)
    run_id = mlflow.active_run().info.run_id
    Path("outputs").mkdir(exist_ok=True)
    Path("outputs/metrics.json").write_text(json.dumps({"weight": weight, "run_id": run_id}))
"""
STAGES = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py, data]
    params: [train]
    metrics:
      - outputs/metrics.json: {cache: false}
"""
IGNORED = "/mlruns/\n/mlflow.db*\n/replays/\n/.runback/\n/data\n"


def make(folder: Path, home: str = "", inside: str = "") -> DvcProject:
    """Return a project with one data set under DVC, a stage, and a first commit.

    home: where in its repository DVC is set up. inside: where the stage is.
    """
    top = DvcProject(folder / "project", environ(folder))
    made = DvcProject(top.root / inside, top.environ)
    made.root.mkdir(parents=True)
    top.git("init", "--quiet", "--initial-branch=main")
    DvcProject(top.root / home, top.environ).dvc("init", "--quiet", *(["--subdir"] if home else []))
    made.dvc("config", "core.analytics", "false")
    made.dvc("config", "core.autostage", "true")
    for name, text in (
        *(("train.py", TRAIN), ("dvc.yaml", STAGES), (".gitignore", IGNORED)),
        *(("params.yaml", "train:\n  rate: 0.5\n"), (".dvcignore", "/mlruns/\n/replays/\n")),
        ("data/numbers.txt", "\n".join(map(str, range(20)))),
    ):
        made.write(name, text)
    made.dvc("add", "--quiet", "data")
    made.commit("start")
    return made
