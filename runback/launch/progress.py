"""Tell the user what making an environment is about, and how far it is."""

from __future__ import annotations

import sys
import time

from runback.terminal import say

EVERY_S = 15


class Progress:
    """One line that is redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._redrawn = sys.stderr.isatty()
        self._said_s = time.monotonic()

    def begin(self, folder: str, lock: str, download: str) -> None:
        """download: how much that is about, "" for nothing."""
        how = f"downloads about {download}" if download else "downloads nothing"
        say(f"making {folder} from {lock} (once; {how})")

    def waiting(self) -> None:
        say("another process is making this environment; waiting for it")

    def note(self, message: str) -> None:
        self._wipe()
        say(message)

    def step(self, done: int, total: int, what: str) -> None:
        """Show that `done` of `total` packages are at hand, and what is being done."""
        if self._redrawn:
            print(f"\r\033[K  {done}/{total} {what[:60]}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said_s > EVERY_S:
            self._said_s = time.monotonic()
            say(f"{done}/{total} {what}")

    def end(self, folder: str, seconds: float) -> None:
        self._wipe()
        say(f"{folder} is ready ({seconds:.0f} s)")

    def _wipe(self) -> None:
        if self._redrawn:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
