"""docs/sweep.md is true: its commands print what it shows, its space is the project's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, copy_project
from pages import commands, typed
from sessions import blocks, pattern, steps

PAGE = (REPOSITORY / "docs" / "sweep.md").read_text()
SESSION = [step for block in blocks(PAGE) for step in steps(block)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a copy of the project, in git, with sweep.py."""
    root = copy_project(tmp_path_factory.mktemp("page") / "project", git=True)
    shutil.copy(REPOSITORY / "sweep.py", root)
    (root / ".gitignore").write_text("/mlruns/\n/mlflow.db*\n/.runback/\n")
    environ = commands(root.parent)
    return root, environ | {"PYTHONPATH": str(root)}


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:40])
def test_session_prints_what_the_page_shows(
    place: tuple[Path, dict[str, str]], command: str, expected: list[str]
) -> None:
    root, environ = place
    screen, shown = typed(command, root, environ)
    assert re.fullmatch(pattern(expected), shown), screen.text


def test_space_of_the_page_is_the_project_s() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    shown = yaml.safe_load(text.replace("  …\n", ""))
    known = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert shown["search"] == known["search"]
    assert shown["train"].items() <= known["train"].items()


def test_names_of_the_page_exist() -> None:
    sweep = (REPOSITORY / "sweep.py").read_text()
    for name in ("TRAINING =", "def sampler", "def pruner"):
        assert name in sweep
    report = (REPOSITORY / "runback" / "sweep" / "report.py").read_text()
    pictures = re.findall(r"\((`history`.*?)\)", PAGE, flags=re.DOTALL)[0]
    assert re.findall(r"`(\w+)`", pictures) == re.findall(r'"(\w+)": "plot_', report)
    assert (
        subprocess.run(["git", "check-ignore", "-q", ".runback/x"], cwd=REPOSITORY).returncode == 0
    )
