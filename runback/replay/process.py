"""Run a command to its end: its output is seen, a time limit holds, Ctrl-C reaches it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    with child, _forwarding(child) as told:
        timed_out = _wait(child, timeout_s)
        status = child.wait()
        _tell(child, signal.SIGTERM)  # what it left behind would hold the attempt's lock
    return Ended(status, time.monotonic() - began_s, timed_out, bool(told))


def _wait(child: subprocess.Popen[bytes], timeout_s: float | None) -> bool:
    """Wait for its end; say whether it had to be told, because its time was up."""
    try:
        child.wait(timeout_s)
        return False
    except subprocess.TimeoutExpired:
        _end(child, signal.SIGTERM)
        return True


def _end(child: subprocess.Popen[bytes], number: int) -> None:
    """Tell it to end, and end it if it does not."""
    _tell(child, number)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _tell(child, signal.SIGKILL)


def _tell(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


@contextlib.contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[deque[int]]:
    """Hand on the signals that end us; it is a group of its own, which Ctrl-C does not reach.

    Yields the numbers of those that came.
    """
    told: deque[int] = deque()

    def hand_on(number: int, frame: FrameType | None) -> None:
        told.append(number)
        _tell(child, signal.SIGKILL if len(told) > 2 else number)

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, *_HANDLED)}
    try:
        yield told
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
