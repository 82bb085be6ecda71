"""The process of a replay: its time limit, and the signals that come while it is started."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runback.replay import process

SLEEPS = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


@pytest.fixture
def handlers() -> Iterator[None]:
    """Set the handlers as in a program, whatever runs the tests; check that they are set again."""
    wanted: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    assert {number: signal.getsignal(number) for number in wanted} == wanted
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_that_comes_while_it_is_started_reaches_it(
    handlers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    @contextlib.contextmanager
    def interrupted(cores: int | None) -> Iterator[None]:
        yield
        signal.raise_signal(number)

    monkeypatch.setattr(process, "_only", interrupted)
    ended = process.run(SLEEPS, tmp_path, os.environ)
    assert ended.interrupted
    assert not ended.timed_out
    assert ended.status in (-number, 1)  # Python words Ctrl-C by a traceback once it is up


def test_what_is_deaf_is_killed_after_its_time(
    handlers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    ended = process.run([sys.executable, "-S", "-c", code], tmp_path, os.environ, timeout_s=1.5)
    assert (ended.timed_out, ended.interrupted) == (True, False)
    assert ended.status in (-signal.SIGKILL, -signal.SIGTERM)  # not up yet on a busy machine


def test_what_it_leaves_behind_is_ended(handlers: None, tmp_path: Path) -> None:
    """Else it would hold the attempt's lock."""
    ours, theirs = os.pipe()
    code = "import os, time\nif os.fork() == 0: time.sleep(60)"
    ended = process.run([sys.executable, "-S", "-c", code], tmp_path, os.environ, handles=[theirs])
    assert ended.status == 0
    os.close(theirs)
    assert os.read(ours, 1) == b""  # everybody who had the other end is gone
    os.close(ours)
