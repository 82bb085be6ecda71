"""What the tests share: a copy of the project, a small environment for it, a stand-in engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import processes
import pytest
from hypothesis import HealthCheck, settings

from runback.launch import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = (
    *("docker", "runback", "params.yaml", "pyproject.toml", "requirements.in", "requirements.txt"),
    *("requirements-dvc.in", "requirements-dvc.txt"),
    *("run_script.bash", "run_mlflow_ui.bash", "train.py", "train_mlflow.py", "train_lightning.py"),
    *(".dockerignore", "runback.dist-info"),
)

# They take a minute or more: at the end, one of two workers would wait for the other.
LONG = (
    *("test_train.py", "test_sweep_runs.py", "test_faults.py", "test_dvc_page.py", "test_esc50.py"),
    *("test_doctor.py", "test_replay_resume.py", "test_dvc.py", "test_remote.py", "test_ui.py"),
    *("test_callbacks.py", "test_replay.py", "test_sync.py", "test_ledger.py", "test_freeze.py"),
)

FAKE_ENGINE = """\
#!{python} -IS
# Answers as an engine would; `run` runs the command here. What it was asked goes to calls.jsonl.
import json, os, sys
with open({calls!r}, "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
verb = sys.argv[1]
if verb == "info":
    print({info!r})
elif verb == "image":
    if not os.path.exists({image!r}):
        sys.exit(1)
    print("sha256:" + "1" * 64)
elif verb == "build":
    status = int(os.environ.get("FAKE_BUILD_STATUS", "0"))
    if status == 0:
        open({image!r}, "w").close()
    sys.exit(status)
elif verb == "run":
    # What stands before the command: python ROOT/runback/launch/inside.py
    at = next(i for i, word in enumerate(sys.argv) if word.endswith("inside.py"))
    os.execvp(sys.argv[at + 1], sys.argv[at + 1:])
"""


def pytest_configure() -> None:
    """Have the tests see nothing of how they were started.

    Readline tells the processes that run them the terminal's size.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # A shell's `&` has it ignored, in us and in all that we start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes is a matter of what else runs.
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder of its own, with an environment that is complete."""

    root: Path
    environ: dict[str, str]

    def run(
        self, *command: str, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ./run_script.bash COMMAND."""
        return self.script("run_script.bash", *command, cwd=cwd, **environ)

    def script(
        self, name: str, *arguments: str, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / name), *arguments],
            cwd=cwd or self.root,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """End what the test has started, if it failed before it did so itself."""
    yield
    processes.end_all()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the project, in a folder whose name has a space and an accent."""
    return copy_project(tmp_path / "my projéct")


def copy_project(root: Path, git: bool = False) -> Path:
    """Copy what a training needs to `root`; with `git`, commit it to a repository there."""
    root.mkdir()
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, root / part)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]) if git else ():
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        subprocess.run(command, cwd=root, check=True)
    return root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; the others stay in their order."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database, as MLflow makes it and no index has seen it."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    code = "from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S\n"
    code += f"S('sqlite:///{path}', '/home/ada/mlruns')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=REPOSITORY)
    return path


def plain_environ(**more: str) -> dict[str, str]:
    """Return the variables of a user with the project on their path, and nothing else of ours."""
    ours = ("MLFLOW", "_MLFLOW", "RUNBACK", "PYTHONHASHSEED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true", **more}


@pytest.fixture
def project(copy: Path, tmp_path: Path) -> Project:
    """Return the copy with a complete (empty) .venv and store, and no engine on its PATH."""
    folder = copy / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    write_stamp(copy)
    (copy / "mlflow.db").touch()
    return Project(copy, bare_environ(tmp_path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with 8 MB of room."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def lend_environment(root: Path) -> None:
    """Give a project a .venv that has the packages of the environment that runs this."""
    venv = root / ".venv"
    options = ("--without-pip", "--system-site-packages")
    subprocess.run([sys.executable, "-m", "venv", *options, str(venv)], check=True)
    library = next((venv / "lib").glob("python3*")) / "site-packages"
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (library / "ours.pth").write_text(ours + "\n")
    write_stamp(root)


def write_stamp(root: Path, **packages: str) -> None:
    """Say of the project's .venv that it is complete, with these packages."""
    stamp = {
        "lock": kind.digest(root, kind.full()),
        "folder": str(root / ".venv"),
        "python": f"3.{sys.version_info.minor}",
        "packages": packages,
    }
    (root / ".venv" / "runback.json").write_text(json.dumps(stamp))


def bare_environ(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a user who has set none of ours, and has no engine."""
    names = ("LANG", "TERM", "SSL_CERT_FILE", "PIP_CERT", "PIP_FIND_LINKS")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return {**kept, "HOME": str(home), "USER": "ada", "PATH": str(tools(tmp_path))}


def tools(tmp_path: Path, *without: str) -> Path:
    """Return a folder for PATH: this Python and the commands that the scripts need."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    commands = (
        *("bash", "cat", "dirname", "env", "git", "grep", "id", "mkdir", "ps", "rsync", "sh"),
        *("sleep", "true"),
    )
    for name in commands:
        if (found := shutil.which(name)) and not (folder / name).exists():
            (folder / name).symlink_to(found)
    for name in {"python3", f"python3.{sys.version_info.minor}"} - set(without):
        if not (folder / name).exists():
            # A link would make Python look for its library beside it.
            script = f'#!/bin/sh\nexec "{Path(sys.base_prefix)}/bin/python3" "$@"\n'
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
    return folder


@dataclass(frozen=True)
class FakeEngine:
    """A stand-in for an engine's command on the project's PATH."""

    folder: Path
    calls_file: Path

    def calls(self, verb: str) -> list[list[str]]:
        """Return the arguments of each call of this verb, in order."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [words for words in map(json.loads, lines) if words[0] == verb]


@pytest.fixture
def make_engine(tmp_path: Path) -> Callable[..., FakeEngine]:
    """Return a function that puts a stand-in engine on the project's PATH."""

    def make(name: str = "docker", info: dict[str, object] | None = None) -> FakeEngine:
        folder = tools(tmp_path)
        calls, image = tmp_path / f"{name}-calls.jsonl", tmp_path / f"{name}-image"
        text = FAKE_ENGINE.format(
            python=Path(sys.base_prefix) / "bin" / "python3",
            calls=str(calls),
            info=json.dumps({"ServerVersion": "27.0"} if info is None else info),
            image=str(image),
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        return FakeEngine(folder, calls)

    return make
