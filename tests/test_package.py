"""pip install . gives the command `runback`, with few and light dependencies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, copy_project
from test_lock import need_package_index
from test_plugin import FIND, FOUND

LIGHT = {"click", "packaging", "pip", "pyyaml", "rich", "runback", "setuptools"}
OF_RICH = {"markdown-it-py", "mdurl", "pygments"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment into which the project was installed."""
    need_package_index()
    folder = tmp_path_factory.mktemp("package")
    project = copy_project(folder / "project")
    for name in ("README.md", "LICENSE"):
        (project / name).write_text((REPOSITORY / name).read_text())
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    bin_folder = folder / "venv" / "bin"
    command = [str(bin_folder / "pip"), "install", "--quiet", str(project)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return bin_folder


def run(bin_folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(bin_folder / words[0]), *words[1:]]
    return subprocess.run(
        command, cwd=bin_folder.parent, env=environ, capture_output=True, text=True
    )


def test_dependencies_are_few_and_light(installed: Path) -> None:
    listed = run(installed, "python", "-m", "pip", "list", "--format=freeze").stdout
    assert {line.partition("==")[0].lower() for line in listed.split()} <= LIGHT | OF_RICH


def test_mlflow_finds_the_plugin_once(installed: Path) -> None:
    """Also where the project, whose metadata pip has just written there too, is on the path."""
    project = installed.parents[1] / "project"
    link = next(installed.parent.rglob("site-packages")) / "project.pth"
    for text in ("", f"{project}\n"):
        link.write_text(text)
        assert run(installed, "python", "-c", FIND).stdout == FOUND
    link.unlink()
    (project / "mine.py").write_text(FIND)
    assert run(installed, "python", str(project / "mine.py")).stdout == FOUND


def test_every_package_is_there(installed: Path) -> None:
    names = subprocess.check_output(
        [str(installed / "python"), "-c", "import runback; print(runback.__path__[0])"], text=True
    )
    there = {p.parent.name for p in Path(names.strip()).rglob("__init__.py")}
    assert there == {p.parent.name for p in (REPOSITORY / "runback").rglob("__init__.py")}


def test_command_has_help_and_a_version(installed: Path) -> None:
    assert re.fullmatch(
        r"runback, version \d+\.\d+\.\d+\n", run(installed, "runback", "--version").stdout
    )
    done = run(installed, "runback", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Check a run's record, or the running environment" in done.stdout


def test_what_needs_more_says_so(installed: Path) -> None:
    done = run(installed, "runback", "ui")
    assert (done.returncode, done.stderr) == (
        3,
        "error: mlflow is not installed here\nhint: pip install 'mlflow>=3.16,<3.18'\n",
    )
    done = run(installed, "runback", "verify")
    assert done.returncode == 3
    assert done.stderr.startswith("error: there is no lock to compare with at ")


def test_unknown_word_is_usage(installed: Path) -> None:
    done = run(installed, "runback", "lss")
    assert done.returncode == 2
    assert "No such command 'lss'" in done.stderr
