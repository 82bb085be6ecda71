"""The Makefile as its user meets it, with the real make: what it calls, what it makes anew."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, FakeEngine, Project, tools
from pictures import LARK, OWL, WREN, add, curve
from records import make_record

MAKE = shutil.which("make")
TEXT = (REPOSITORY / "Makefile").read_text()
ECHO = '#!/bin/sh\necho "$(basename "$0") $*"\n'
NO_ENGINE = "error: docker or podman was asked for and cannot be used: not installed\n"

pytestmark = pytest.mark.skipif(MAKE is None, reason="needs make: apt-get install make")


@pytest.fixture
def made(project: Project, tmp_path: Path) -> Project:
    """Return the project with its Makefile, and what that needs on the PATH."""
    shutil.copy(REPOSITORY / "Makefile", project.root)
    for name in ("basename", "cmp", "cut", "make", "mv", "rm", "sed"):
        (tools(tmp_path) / name).symlink_to(str(shutil.which(name)))
    return project


def make(project: Project, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return project.script(str(MAKE), *words, cwd=None, **environ)


def command(folder: Path, name: str) -> None:
    """Put a command that says how it was called into a folder."""
    (folder / name).write_text(ECHO)
    (folder / name).chmod(0o755)


def test_make_alone_names_every_target(made: Project) -> None:
    done = make(made)
    named = re.findall(r"^make (\S+) +\S", done.stdout, flags=re.MULTILINE)
    targets = re.findall(r"^([a-z_.]+):", TEXT, flags=re.MULTILINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(named) == {t for t in targets if not t.startswith(".")}
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_image_is_built_once_and_runs_the_training(
    made: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    command(engine.folder, "python")
    assert make(made, "image").returncode == 0
    assert make(made, "image").returncode == 0
    assert len(engine.calls("build")) == 1
    done = make(made, "run", "ARGS=--epochs 3")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "python train_mlflow.py --epochs 3",
    )
    assert engine.calls("run")[0][-4:] == ["python", "train_mlflow.py", "--epochs", "3"]


def test_run_cli_is_a_shell_in_the_container(
    made: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("podman", {"host": {}})
    assert make(made, "run_cli").returncode == 0
    assert [words[-1] for words in engine.calls("run")] == ["bash"]


@pytest.mark.parametrize("target", ["image", "run", "run_cli"])
def test_what_is_for_the_container_says_that_there_is_none(made: Project, target: str) -> None:
    done = make(made, target)
    assert done.returncode == 2  # make's own
    assert done.stderr.startswith(NO_ENGINE)


def test_engine_that_the_user_chose_is_left_alone(
    made: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    docker, podman = make_engine("docker"), make_engine("podman", {"host": {}})
    assert make(made, "image", RUNBACK_ENGINE="podman").returncode == 0
    assert (len(docker.calls("build")), len(podman.calls("build"))) == (0, 1)


def test_local_train_leaves_the_engine_alone(
    made: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    (made.root / "train_mlflow.py").write_text("import sys; print(sys.prefix, sys.argv)")
    done = make(made, "local_train", "ARGS=--seed 7")
    expected = f"{made.root / '.venv'} ['train_mlflow.py', '--seed', '7']"
    assert done.stdout.splitlines()[-1] == expected
    assert engine.calls("info") == []


def test_test_and_ui_call_what_is_there(made: Project) -> None:
    command(made.root / ".venv" / "bin", "pytest")
    done = make(made, "test", "ARGS=-k plot")
    assert done.stdout.splitlines()[-1] == "pytest -k plot"
    command(made.root, "run_mlflow_ui.bash")
    assert make(made, "ui").stdout.splitlines()[-1].split() == ["run_mlflow_ui.bash"]


@pytest.fixture
def store(made: Project, template: Path) -> Project:
    """Return the project with an empty store, and our packages in its .venv."""
    shutil.copy(template, made.root / "mlflow.db")
    library = next((made.root / ".venv" / "lib").glob("python3*")) / "site-packages"
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (library / "ours.pth").write_text(ours + "\n")
    return made


def add_run(project: Project, run_id: str, name: str) -> None:
    """Put a run's folder into mlruns/, as rsync does: the database does not know it."""
    loss = curve("loss", lambda step: 1 / (step + 1))
    add(project.root, run_id, name, loss, {"learning_rate": "0.1"})


def is_drawn(project: Project) -> bool:
    """Make train_loss.pdf; say whether something had to be done."""
    done = make(project, "train_loss.pdf")
    assert done.returncode == 0, done.stderr
    return done.stdout != "the latest runs are as before\n"


def test_loss_is_plotted_anew_when_the_runs_have_changed(store: Project) -> None:
    pdf = store.root / "train_loss.pdf"
    add_run(store, OWL, "owl")
    assert is_drawn(store)
    first, before = pdf.read_bytes(), pdf.stat()
    assert first.startswith(b"%PDF")

    assert store.run("runback", "show", "owl").returncode == 0
    (store.root / "mlflow.db").touch()
    assert not is_drawn(store)
    assert (pdf.stat().st_mtime_ns, pdf.stat().st_ino) == (before.st_mtime_ns, before.st_ino)

    add_run(store, LARK, "lark")
    assert is_drawn(store)
    assert pdf.read_bytes() != first
    assert not is_drawn(store)
    assert store.run("runback", "rm", LARK).returncode == 0
    assert is_drawn(store)
    assert pdf.read_bytes() == first  # the same runs, the same bytes

    pdf.unlink()
    assert is_drawn(store)


def test_the_latest_five_are_plotted(store: Project) -> None:
    for number in range(6):
        make_record(store.root / "mlruns", f"{number}{WREN[1:]}")
    assert is_drawn(store)
    listed = (store.root / ".runback" / "latest.tsv").read_text()
    assert len(re.findall(WREN[1:], listed)) == 5


def test_without_a_run_or_a_loss_it_says_so(store: Project) -> None:
    done = make(store, "train_loss.pdf")
    assert done.returncode == 2
    assert "\nerror: no runs yet: make local_train, or make run\n" in done.stderr
    add(store.root, OWL, "owl", curve("score", float), {})
    done = make(store, "train_loss.pdf")
    assert done.returncode == 2
    assert re.search(r"^error: .*\bloss\b.*", done.stderr, flags=re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert not (store.root / "train_loss.pdf").exists()
