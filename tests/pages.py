"""What the tests of the documents' sessions share: the commands that they type."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conftest import plain_environ

COMMANDS = {"runback": '"{}" -m runback', "python": '"{}"'}


def commands(folder: Path) -> dict[str, str]:
    """Put `runback` and `python` into a folder; return the variables of who has it on the PATH."""
    for name, words in COMMANDS.items():
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {words.format(sys.executable)} "$@"\n')
        command.chmod(0o755)
    return plain_environ(PATH=f"{folder}:{os.environ['PATH']}")
