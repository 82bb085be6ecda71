"""MLflow finds what records a run wherever a Python of the project runs, and finds it once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from conftest import REPOSITORY, FakeEngine, Project
from test_run_script import SHOW, shown

import runback

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
FIND = (
    "import importlib.metadata as m; "
    "print(*(e.value for e in m.entry_points(group='mlflow.run_context_provider')))"
)
FOUND = "runback.capture.provider:RunContext\n"
PYTHON = Path(sys.base_prefix) / "bin" / "python3"  # that has nothing of the project


def found_by(python: Path, **environ: str) -> str:
    """Return what a Python finds that is started elsewhere, and not by run_script.bash."""
    return subprocess.check_output([str(python), "-c", FIND], cwd="/", env=environ, text=True)


def test_folder_says_what_pyproject_says() -> None:
    metadata = Distribution.at(REPOSITORY / "runback.dist-info")
    project = PYPROJECT["project"]
    assert (metadata.metadata["Name"], metadata.version, metadata.metadata["Summary"]) == (
        project["name"],
        runback.__version__,
        project["description"],
    )
    assert [(e.group, e.name, e.value) for e in metadata.entry_points] == [
        (group, name, value)
        for group, entries in project["entry-points"].items()
        for name, value in entries.items()
    ]


def test_every_package_is_named_in_pyproject() -> None:
    folders = {path.parent for path in (REPOSITORY / "runback").rglob("__init__.py")}
    named = {".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == named


def test_found_under_run_script_in_any_folder(project: Project, tmp_path: Path) -> None:
    for folder in (project.root, project.root / "docker", tmp_path):
        assert project.run("python", "-c", FIND, cwd=folder).stdout == FOUND


def test_found_by_what_a_command_starts_elsewhere(project: Project, tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FIND!r}], cwd='/')"
    assert project.run("python", "-c", code, PYTHONPATH=str(tmp_path)).stdout == FOUND


def test_found_by_what_a_container_starts(project: Project) -> None:
    """There, inside.py alone puts the project on the path: an image knows of none."""
    inside = project.root / "runback" / "launch" / "inside.py"
    command = [str(PYTHON), str(inside), "python3", "-c", FIND]
    out = subprocess.check_output(command, cwd="/", env=project.environ, text=True)
    assert out == FOUND
    assert found_by(PYTHON) == "\n"


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}])
def test_found_by_the_environments_python_alone(project: Project, locale: dict[str, str]) -> None:
    """As an editor starts it; the project's name has an accent that the C locale has not."""
    python = project.root / ".venv" / "bin" / "python"
    environ = {**locale, "PYTHONUTF8": "0"}
    assert found_by(python, **environ) == "\n"
    assert project.run("true").returncode == 0
    assert found_by(python, **environ) == FOUND


def test_found_by_any_python_that_runs_a_script_of_the_project(project: Project) -> None:
    script = project.root / "mine.py"
    script.write_text(FIND)
    out = subprocess.check_output([str(PYTHON), str(script)], cwd="/", env={}, text=True)
    assert out == FOUND


def test_model_does_not_require_it(project: Project) -> None:
    """MLflow names the distributions of imported modules; there is none to download."""
    code = "import importlib.metadata as m; print(m.packages_distributions().get('runback'))"
    assert project.run("python", "-c", code).stdout == "None\n"


def test_container_is_told_its_machine_and_its_image(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    asked = {"RUNBACK_RECORD": "0", "RUNBACK_DATA": "/data:/more"}
    project.environ.update(asked)
    for _ in ("the image is built", "the image is there"):
        _, _, environ = shown(project.run("python3", "-c", SHOW))
        assert environ["RUNBACK_HOST"] == os.uname().nodename
        assert environ["RUNBACK_IMAGE_ID"] == f"sha256:{'1' * 64}"
        assert {name: environ[name] for name in asked} == asked
    words = engine.calls("run")[1]
    given = {words[at + 1] for at, word in enumerate(words) if word == "--env"}
    assert {*asked, "RUNBACK_HOST", "RUNBACK_IMAGE_ID"} <= given
    assert "/data:/more" not in json.dumps(words)
    assert len(engine.calls("image")) == 4  # before, under the lock, after; then once


def test_name_that_the_user_gave_the_machine_goes_before(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    make_engine("docker")
    _, _, environ = shown(project.run("python3", "-c", SHOW, RUNBACK_HOST="big"))
    assert environ["RUNBACK_HOST"] == "big"
