"""Ask git about a repository; change nothing in it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMEOUT_S = 10.0
# Set where git itself started us (a hook, an alias): they would name another repository.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
OPTIONS = (
    # A container's user does not own the project that is mounted in it.
    *("-c", "safe.directory=*"),
    # Neither a daemon nor a hook may start because we look.
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
)
# How `git cat-file --batch` begins what it has.
_OBJECT = re.compile(rb"[0-9a-f]+ (\w+) (\d+)")


def top_level(folder: Path) -> Path | None:
    """Return the nearest folder, this one or above, that is a repository's work tree."""
    for place in (folder, *folder.parents):
        mark = place / ".git"
        if mark.is_file() or (mark / "HEAD").is_file():
            return place
    return None


def ask(root: Path, *arguments: str, stdin: bytes = b"") -> bytes | None:
    """Return what git says in the folder, or None: no git, no repository, too slow."""
    environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *OPTIONS, *arguments],
            cwd=root,
            env=environ,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def contents(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return what is in each `REVISION:./path` that there is, by that name.

    One process for all of them (`git cat-file --batch`).
    """
    asked = {name: line for name in names if (line := _line(name))}
    output = ask(root, "cat-file", "--batch", stdin=b"".join(asked.values()))
    found, at = dict[str, bytes](), 0
    for name in asked if output else ():
        assert output is not None
        end = output.index(b"\n", at)
        about, at = _OBJECT.fullmatch(output[at:end]), end + 1
        if about is None:
            continue  # missing, ambiguous, a submodule
        size = int(about[2])
        if about[1] == b"blob":
            found[name] = output[at : at + size]
        at += size + 1
    return found


def _line(name: str) -> bytes:
    """Return a name as git is asked for it; nothing of one that no file can have."""
    try:
        line = os.fsencode(name)
    except UnicodeEncodeError:
        return b""
    return b"" if b"\n" in line or b"\0" in line else line + b"\n"
