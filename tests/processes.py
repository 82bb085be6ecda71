"""Processes that tests start: none of them, nor what they have started, outlives its test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any, ClassVar


class Started(subprocess.Popen[str]):
    """A process in a group of its own; conftest.py ends it after the test that started it.

    One that a failed test leaves would be warned of where another test runs, which then fails too.
    """

    all: ClassVar[list[Started]] = []

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        """options: of subprocess.Popen."""
        own = {} if options.get("start_new_session") else {"process_group": 0}
        super().__init__(list(words), **{"text": True, **own, **options})
        Started.all.append(self)

    def end(self) -> None:
        """Kill what is still there of its group, and close the pipes to it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with self:
            pass


def end_all() -> None:
    while Started.all:
        Started.all.pop().end()
