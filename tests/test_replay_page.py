"""docs/replay.md is true: its script trains, its sessions print what they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY
from pages import commands, typed
from screens import run
from sessions import blocks, pattern, steps

PAGE = (REPOSITORY / "docs" / "replay.md").read_text()
SESSION = [step for block in blocks(PAGE) for step in steps(block)]
DATA = """\
import sys
import numpy as np
x = np.linspace(-1, 1, 32, dtype=np.float32)
y = np.sin(3 * x)
y[9] += float(sys.argv[1])
np.save("data/points.npy", np.stack([x, y], axis=1))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder with the page's script and its data."""
    root = tmp_path_factory.mktemp("page") / "project"
    (root / "data").mkdir(parents=True)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (root / "train.py").write_text(code)
    (root / "data.py").write_text(DATA)
    (root / "pyproject.toml").write_text('[tool.runback]\ndata = ["data"]\n')
    environ = commands(root.parent)
    assert run(("python", "data.py", "0"), root, environ).status == 0
    return root, environ


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:40])
def test_session_prints_what_the_page_shows(
    place: tuple[Path, dict[str, str]], command: str, expected: list[str]
) -> None:
    root, environ = place
    screen, shown = typed(command, root, environ)
    assert re.fullmatch(pattern(expected), shown), screen.text
