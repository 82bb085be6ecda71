"""Find the environment variables that a project's own code reads by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runback.capture.reading import CodeFile

FILE_MAX_BYTES = 1_000_000
TOTAL_MAX_BYTES = 20_000_000
NAMES_MAX = 1000
# environ["X"] (unless it is set there), environ.get("X"), getenv("X"); "X" in os.environ.
READ = re.compile(
    rb"(?:environb?\s*(?:\[|\.(?:get|pop|setdefault)\(\s*)|getenvb?\(\s*)"
    rb"b?([\"'])([A-Za-z_]\w{0,100})\1(?!\]\s*=[^=])"
)
ASKED = re.compile(rb"([\"'])([A-Za-z_]\w{0,100})\1 (?:not )?in os\.environ")
# What is another on every machine or terminal, and what MLflow reads to log in.
PLACES = {
    *("HOME", "PATH", "USER", "LOGNAME", "PWD", "OLDPWD", "SHELL", "HOSTNAME", "VIRTUAL_ENV"),
    *("TMPDIR", "TEMP", "TMP", "TERM", "COLUMNS", "LINES", "DISPLAY", "PS1", "EDITOR", "PAGER"),
    *("LD_LIBRARY_PATH", "CONDA_PREFIX", "NO_COLOR", "FORCE_COLOR"),
}
PLACE_PREFIXES = (
    *("MLFLOW_", "_MLFLOW_", "RUNBACK_", "XDG_", "SSH_", "JPY_"),
    *("DOCKER_", "CONTAINER_"),
)


def names(files: Mapping[str, CodeFile]) -> frozenset[str]:
    """Return the variables that the .py files of a snapshot read, but for mere places."""
    found, total = set[str](), 0
    for path, file in files.items():
        total += len(file.data)
        if total > TOTAL_MAX_BYTES or len(found) > NAMES_MAX:
            break
        if path.endswith(".py") and len(file.data) <= FILE_MAX_BYTES:
            found.update(_names(file.data))
    return frozenset(name for name in found - PLACES if not name.startswith(PLACE_PREFIXES))


def _names(code: bytes) -> set[str]:
    lines = [line for line in code.splitlines() if b"in os.environ" in line]
    matches = [*READ.finditer(code), *(match for line in lines for match in ASKED.finditer(line))]
    return {match[2].decode() for match in matches}
