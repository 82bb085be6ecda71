"""output.log: what the process prints while a run goes on, as a person would read it afterwards.

The streams stay what they are (a terminal stays a terminal); what Python writes to
them is kept as well. What a library in C++ or a child process writes past Python is not.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Colours and cursor movements (ECMA-48 CSI and OSC sequences).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
LARGEST_BYTES = 100_000_000
LONGEST_LINE = 100_000


class Lines:
    """Collapses what is written over: a progress bar becomes its last state."""

    def __init__(self) -> None:
        self._open = ""

    def feed(self, text: str) -> str:
        """Return the lines that are complete now, each with its end."""
        *complete, self._open = (self._open + text).split("\n")
        if len(self._open) > LONGEST_LINE:
            self._open = collapsed(self._open)[:LONGEST_LINE]
        return "".join(collapsed(line) + "\n" for line in complete)

    def rest(self) -> str:
        """Return the line that was not ended."""
        line, self._open = collapsed(self._open), ""
        return f"{line}\n" if line else ""


def collapsed(line: str) -> str:
    """Return what a terminal would show of a line in the end: after \\r, \\b and colours."""
    parts = [part for part in _ESCAPES.sub("", line).split("\r") if part.strip("\b ")]
    shown: list[str] = []
    for character in parts[-1] if parts else "":
        if character != "\b":
            shown.append(character)
        elif shown:
            shown.pop()
    return "".join(shown).rstrip() if "\r" in line or "\b" in line else "".join(shown)


class Tee:
    """Keeps what is written to sys.stdout and sys.stderr between `start` and `stop`.

    `write` of the stream objects is wrapped, not the objects: a logging handler that
    was made before keeps writing to the same one.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[str, str]] = []
        # A signal's handler takes what was kept, perhaps in the midst of a write.
        self._lock = threading.RLock()
        self._restore: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to keep what is written, if that is not so already."""
        with self._lock:
            for name in ("stdout", "stderr") if not self._restore else ():
                if (stream := getattr(sys, name, None)) is not None:
                    self._wrap(name, stream)

    def _wrap(self, name: str, stream: Any) -> None:
        original = stream.write

        def write(text: str) -> Any:
            with self._lock:
                self._kept.append((name, text))
            return original(text)

        def restore() -> None:
            # Somebody may have wrapped it after us: then ours stays below, and keeps nothing.
            if stream.__dict__.get("write") is write:
                del stream.write

        # A stream that takes no attributes (another's replacement) is left as it is.
        with contextlib.suppress(AttributeError, TypeError):
            stream.write = write
            self._restore.append(restore)

    def stop(self) -> None:
        """Leave the streams as they were; forget what nobody took."""
        with self._lock:
            while self._restore:
                self._restore.pop()()
            self._kept = []

    def forget(self) -> None:
        """Stop in a forked child, where a thread that held the lock is not."""
        self._lock = threading.RLock()
        self.stop()

    def take(self) -> list[tuple[str, str]]:
        """Return what was written since the last call: stream name and text."""
        with self._lock:
            kept, self._kept = self._kept, []
        return kept
