"""Where the launcher of a replay in a container lies in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from runback.replay.start import launchers


@pytest.mark.parametrize(
    ("folder", "script", "expected"),
    [
        ("code", "fit.py", "code"),
        ("code/two", "two/fit.py", "code/two"),
        ("code/two/deeper", None, "code/two"),
        ("code", "two/deeper/fit.py", "code/two"),  # given at the top, where there is none
        ("work", "one/fit.py", "code/one"),  # given outside of the project
        ("work", None, "code"),
    ],
)
def test_launcher_is_that_of_the_project(
    tmp_path: Path, folder: str, script: str | None, expected: str
) -> None:
    (tmp_path / "runback" / "launch").mkdir(parents=True)  # outside of the code
    for name in ("one", "two"):
        (tmp_path / "code" / name / "runback" / "launch").mkdir(parents=True)
    assert launchers(tmp_path / "code", tmp_path / folder, script) == tmp_path / expected
