"""docs/terminal.md is true: its script trains, its sessions print what they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY
from pages import commands
from screens import run
from sessions import blocks, pattern, steady, steps

PAGE = (REPOSITORY / "docs" / "terminal.md").read_text()
SESSION = [step for block in blocks(PAGE) for step in steps(block)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder in which the page's script ran three times, and `runback` on the PATH."""
    root = tmp_path_factory.mktemp("page") / "project"
    root.mkdir()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (root / "train.py").write_text(code)
    environ = commands(root.parent)
    for rate in ("0.1", "0.4", "1.01"):
        done = run(("python", "train.py", rate), root, environ)
        assert done.status == 0, done.text
    return root, environ


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:40])
def test_session_prints_what_the_page_shows(
    place: tuple[Path, dict[str, str]], command: str, expected: list[str]
) -> None:
    root, environ = place
    screen = run(("bash", "-c", command), root, environ)
    assert screen.status == 0, screen.text
    assert re.fullmatch(pattern(expected), steady(screen.text)), screen.text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_there(place: tuple[Path, dict[str, str]], shell: str) -> None:
    """Click asks bash for its version; where there is none, it says so."""
    root, environ = place
    screen = run(("runback",), root, {**environ, "_RUNBACK_COMPLETE": f"{shell}_source"})
    assert screen.status == 0, screen.text
    assert f"_RUNBACK_COMPLETE={shell}_complete" in screen.text


def test_verbs_of_the_page_exist() -> None:
    from runback.cli import VERBS

    named = set(re.findall(r"runback ([a-z]+)", PAGE))
    assert named <= VERBS.keys()
    assert VERBS.keys() - named <= {"index", "verify", "ui", "import"}
