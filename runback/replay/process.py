"""Run a command to its end: its output is seen, a time limit holds, Ctrl-C reaches it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.group import is_gone, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

# A training that is told to end writes its record; that takes seconds.
GRACE_S = 30.0
_HANDLED = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ended:
    """How it ended. status: negative for a signal. seconds: how long it took."""

    status: int
    seconds: float
    timed_out: bool = False
    interrupted: bool = False


def run(
    words: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    timeout_s: float | None = None,
    cores: int | None = None,
    handles: Sequence[int] = (),
) -> Ended:
    """Run the command with its output on our stderr, and nothing to read on its stdin.

    cores: how many it may use; all of ours if None. handles: kept open in it, so that a
    lock holds for as long as it lives, even if we are killed. Raises OSError.
    """
    began_s = time.monotonic()
    with _forwarding() as forwarded:
        with _only(cores):
            child = subprocess.Popen(
                list(words),
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=2,
                stderr=2,
                process_group=0,
                pass_fds=tuple(handles),
            )
        forwarded.begin(child)
        with child:
            timed_out = _wait(child, timeout_s)
            tell(child, signal.SIGTERM)  # what it left behind would hold the attempt's lock
            status = child.wait()
    return Ended(status, time.monotonic() - began_s, timed_out, bool(forwarded.numbers))


def _wait(child: subprocess.Popen[bytes], timeout_s: float | None) -> bool:
    """Wait for its end; say whether it had to be told, because its time was up."""
    if is_gone(child, timeout_s):
        return False
    tell(child, signal.SIGTERM)
    if not is_gone(child, GRACE_S):
        tell(child, signal.SIGKILL)
        is_gone(child, None)
    return True


class _Forwarded:
    """The signals that end us, as they came, handed on to a child in a group of its own.

    Ctrl-C does not reach it there; the third that comes is SIGKILL.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self, child: subprocess.Popen[bytes]) -> None:
        """Hand on to this child what comes, and what came before it was there."""
        self._child = child
        if self.numbers:
            tell(child, self.numbers[0])

    def hand_on(self, number: int, frame: FrameType | None) -> None:
        self.numbers.append(number)
        if self._child:
            tell(self._child, signal.SIGKILL if len(self.numbers) > 2 else number)


@contextlib.contextmanager
def _forwarding() -> Iterator[_Forwarded]:
    """Take the signals that end us; before there is a child, which one in between would leave."""
    forwarded = _Forwarded()
    if threading.current_thread() is not threading.main_thread():
        yield forwarded
        return
    handled = (signal.SIGINT, *_HANDLED)
    before = {number: signal.signal(number, forwarded.hand_on) for number in handled}
    try:
        yield forwarded
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _only(cores: int | None) -> Iterator[None]:
    """Start a process on so many of our cores: libraries count them when they are loaded."""
    ours = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if not cores or cores >= len(ours):
        yield
        return
    os.sched_setaffinity(0, sorted(ours)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
