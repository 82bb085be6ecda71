"""Find a Python on this machine that the locked environment can stand on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from runback.errors import EnvironmentMissing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSIONS = ("3.11", "3.12")
PROBE = "import ensurepip, sys, venv; print('%d.%d.%d' % sys.version_info[:3])"


def find_python(environ: Mapping[str, str] | None = None) -> str:
    """Return a Python of a version in the lock that can make virtual environments.

    RUNBACK_PYTHON, then the one that runs this, then python3.11 and 3.12 on PATH.
    Raises EnvironmentMissing with what was found instead.
    """
    environ = os.environ if environ is None else environ
    path = environ.get("PATH")
    named = environ.get("RUNBACK_PYTHON")
    names = [named] if named else [sys.executable, *(f"python{v}" for v in VERSIONS), "python3"]
    looked_at: list[str] = []
    for name in names:
        program = shutil.which(name, path=path)
        if program is None:
            if named:
                looked_at.append(f"{named} (no such program)")
            continue
        version = _probe(program)
        if _is_locked_version(version):
            return program
        looked_at.append(f"{program} ({version})")
    raise EnvironmentMissing(list(dict.fromkeys(looked_at)))


def _probe(program: str) -> str:
    """Return the version of a Python that has venv and ensurepip, or what is the matter."""
    try:
        # -I: a package in the working directory must not stand in for the standard library.
        done = subprocess.run(
            [program, "-I", "-c", PROBE], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return "does not start"
    if done.returncode == 0:
        return done.stdout.strip()
    missing = re.search(r"No module named '?(\w+)", done.stderr)
    return f"without its {missing.group(1)} module" if missing else "does not start"


def fits(program: Path) -> bool:
    """Say whether the program starts and is a Python of the lock's versions."""
    return program.exists() and _is_locked_version(_probe(str(program)))


def _is_locked_version(version: str) -> bool:
    return version.startswith(tuple(f"{v}." for v in VERSIONS))
