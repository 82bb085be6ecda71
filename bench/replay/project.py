"""A project of its own for a measurement: scripts in a git repository, with a fresh store."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runback.store.find import find_id

REPOSITORY = Path(__file__).resolve().parents[2]
# What run_script.bash needs of the template.
TEMPLATE = (
    *("docker", "runback", "runback.dist-info", "run_script.bash", "run_mlflow_ui.bash"),
    *("params.yaml", "pyproject.toml", "requirements.in", "requirements.txt", ".dockerignore"),
)


@dataclass(frozen=True)
class Project:
    """A folder with scripts, mlflow.db and mlruns/. launch: what stands before a command."""

    root: Path
    environ: dict[str, str]
    launch: tuple[str, ...] = ()

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it; `python` is the one of this environment, or of the container."""
        words = (*self.launch, *words) if self.launch else (sys.executable, *words[1:])
        return subprocess.run(
            words,
            cwd=self.root,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
        )

    def train(self, *words: str, **environ: str) -> str:
        """Run a script; return the id of the run that it made or went on with."""
        done = self.run("python", *words, **environ)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
        return find_id(self.root, "@latest")

    def replay(self, run_id: str, *options: str, **environ: str) -> dict[str, Any]:
        """Replay a run; return what `--json` says, with `status`, or `error` instead."""
        words = ("python", "-m", "runback", "replay", run_id, "--json", *options)
        done = self.run(*words, **environ)
        try:
            return {"status": done.returncode, **json.loads(done.stdout)}
        except ValueError:
            return {"status": done.returncode, "verdict": "error", "error": done.stderr[-3000:]}


def empty_store(folder: Path) -> Path:
    """Return an empty database; MLflow takes seconds to make one."""
    from runback.store.create import create

    create(folder / "mlflow.db", lambda text: None)
    return folder / "mlflow.db"


def make(
    folder: Path,
    scripts: dict[str, str],
    is_in_container: bool = False,
    database: Path | None = None,
) -> Project:
    """Make a project with these scripts, committed, in a folder that is not there yet.

    database: an empty one to copy.
    """
    folder.mkdir(parents=True)
    for name in TEMPLATE if is_in_container else ():
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    for name, text in scripts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    ignored_names = ("mlruns/", "mlflow.db*", ".runback/", "replays/", "__pycache__/", "ignored.py")
    (folder / ".gitignore").write_text("\n".join(ignored_names) + "\n")
    commit(folder)
    if database:
        _copy(database, folder / "mlflow.db")
    launch = ("./run_script.bash",) if is_in_container else ()
    return Project(folder, _environ(is_in_container), launch)


def _copy(database: Path, copy: Path) -> None:
    here, there = sqlite3.connect(database), sqlite3.connect(copy)
    with contextlib.closing(here), contextlib.closing(there):
        here.backup(there)
        there.execute("PRAGMA journal_mode=WAL")
        location = str(copy.with_name("mlruns") / "0")
        there.execute("UPDATE experiments SET artifact_location = ?", [location])
        there.commit()


def commit(folder: Path) -> None:
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        subprocess.run(command, cwd=folder, check=True)


def _environ(is_in_container: bool) -> dict[str, str]:
    """Return a user's variables, with the project on their path, and nothing else of ours."""
    ours = ("MLFLOW", "_MLFLOW", "RUNBACK_R", "RUNBACK_L", "RUNBACK_D")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    if not is_in_container:
        kept |= {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true"}
