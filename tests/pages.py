"""What the tests of the documents' sessions share: the commands that they type."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conftest import plain_environ
from screens import Screen, run
from sessions import steady

COMMANDS = {"runback": '"{}" -m runback', "python": '"{}"'}


def commands(folder: Path) -> dict[str, str]:
    """Put `runback` and `python` into a folder; return the variables of who has it on the PATH."""
    for name, words in COMMANDS.items():
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {words.format(sys.executable)} "$@"\n')
        command.chmod(0o755)
    return plain_environ(PATH=f"{folder}:{os.environ['PATH']}")


def typed(command: str, root: Path, environ: dict[str, str]) -> tuple[Screen, str]:
    """Type a command; return its screen, and what a page shows of it: steady, without our notes."""
    screen = run(("bash", "-c", command), root, environ)
    lines = [line for line in screen.text.splitlines() if not line.startswith("runback: ")]
    return screen, steady("".join(f"{line}\n" for line in lines))
