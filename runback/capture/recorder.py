"""Find the runs of this process in the store, and record each while it goes on.

One thread for the process. It asks the store, not MLflow: what a library logs by
its own way is there too. It holds the interpreter for milliseconds every few seconds.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import sqlite3
import sys
import threading
import time
from typing import TYPE_CHECKING

from runback.capture.command import main_script
from runback.capture.output import Tee
from runback.capture.recording import Recording
from runback.capture.sources import databases, sources
from runback.capture.stop import stop_main_thread
from runback.errors import CaptureError, RunbackError
from runback.store import running
from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import FrameType

    from runback.capture.source import Source

BEAT_S = 3.0
# After MLflow asked, its run is there within milliseconds; a slow server takes longer.
SOON_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 1.0, 1.0)
WAIT_FOR_WRITER_S = 0.02
# What can go wrong with a file or a database while a training runs, which it must survive.
EXPECTED = (RunbackError, OSError, sqlite3.Error, ValueError, RuntimeError, LookupError)


class Recorder:
    """Records the runs whose tag is `session`."""

    signals = (signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        from mlflow.exceptions import MlflowException

        self.session = secrets.token_hex(16)
        main_script()  # while it is there
        self._errors = (*EXPECTED, MlflowException)
        self._tee = Tee()
        self._recordings: dict[str, Recording] = {}
        self._lock = threading.RLock()
        self._expected = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()
        self._holds: dict[Path, running.Hold] = {}
        self._signal = 0
        self._waits = 100
        self._expected_ms = 0

    def expect(self) -> str:
        """Return the tag's value; look for a run that has it, from now on and for a while."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._watch, name="runback", daemon=True)
            self._thread.start()
            self._handle_signals()
        self._hold_session()
        self._tee.start()  # what the run prints first is to be there too
        if not self._expected.is_set():
            self._expected_ms = time.time_ns() // 1_000_000
        self._expected.set()
        return self.session

    def _hold_session(self) -> None:
        """Before the run is made: an index can then tell that a kill came before it was held."""
        for root in {database.root for database in databases()} - self._holds.keys():
            with contextlib.suppress(OSError):  # the run's own hold says so soon
                self._holds[root] = running.hold(root, running.SESSION + self.session)

    def _watch(self) -> None:
        while not self._closing.is_set():
            waiting = BEAT_S if self._open() else None
            if self._expected.wait(waiting):
                self._expected.clear()
                self._look_soon()
            self._beat()

    def _open(self) -> list[Recording]:
        return [recording for recording in self._recordings.values() if not recording.ended]

    def _look_soon(self) -> None:
        for pause_s in SOON_S:
            if self._closing.is_set() or self._look(sources()):
                return
            time.sleep(pause_s)

    def _look(self, stores: Iterable[Source]) -> bool:
        """Begin to record the runs that are new; say whether there were any."""
        found = False
        with self._lock:
            for source in stores:
                for run_id in self._new_runs(source):
                    found = True
                    self._begin(source, run_id)
        return found

    def _new_runs(self, source: Source) -> list[str]:
        try:
            runs = source.runs(self.session)
        except self._errors:
            return []  # not there yet, or busy: it is asked again
        return [run_id for run_id in runs if run_id not in self._recordings]

    def _begin(self, source: Source, run_id: str) -> None:
        if self._open():
            self._drain()  # what was printed so far is of the runs before
        recording = self._recordings[run_id] = Recording(
            source, run_id, self._previous(), self._expected_ms, self._drain
        )
        try:
            recording.begin()
        except self._errors as error:
            recording.give_up()
            reason = _reason(error)
            if recording.has_begun_training():
                say(f"warning: run {run_id[:8]} is not recorded: {reason}")
            else:
                stop_main_thread(CaptureError(run_id, reason))

    def _previous(self) -> Recording | None:
        return next(reversed(self._recordings.values()), None)

    def _beat(self) -> None:
        with self._lock:
            if self._closing.is_set():
                return  # `close` knows how it ends
            self._look(databases())
            self._drain()
            for recording in self._open():
                self._guarded(recording.beat, recording)
            if not self._open():
                self._tee.stop()

    def _drain(self) -> None:
        written = self._tee.take()
        for recording in self._open():
            self._guarded(functools.partial(recording.output, written), recording)

    def _guarded(self, step: Callable[[], None], recording: Recording) -> None:
        """Take a step; a failure is said once and kept in the record: the training goes on."""
        try:
            step()
        except self._errors as error:
            reason = _reason(error)
            if recording.note_missing(reason):
                say(f"warning: the record of run {recording.run_id[:8]} lacks something: {reason}")

    def close(self, how: str = "") -> None:
        """End the records of all runs: at exit, after MLflow has given them their status."""
        self._closing.set()
        self._expected.set()
        if self._thread is None or os.getpid() != self._owner:
            return
        self._handle_signals()  # a script that had handlers of its own may have taken them back
        with _patience(), self._lock:
            self._look(sources())
            self._drain()
            self._tee.stop()
            for recording in self._recordings.values():
                close = functools.partial(recording.close, how or _exception())
                self._guarded(close, recording)
            for hold in self._holds.values():
                hold.release()
            self._holds.clear()
        if self._signal:
            self._end_by(self._signal)

    def forget(self) -> None:
        """In a forked child: stop recording the parent's runs, without touching their files."""
        self._tee.forget()
        for recording in self._recordings.values():
            recording.forget()
        for hold in self._holds.values():
            hold.forget()
        for number in self.signals:
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)

    def _handle_signals(self) -> None:
        """Complete the records before SIGTERM or SIGHUP ends us, if nobody else handles them."""
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                if signal.getsignal(number) == signal.SIG_DFL:
                    signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._closing.is_set() or self._signal:
            self._signal = number  # the records are being completed: that goes before
        elif self._waits > 0 and any(database.is_busy() for database in databases()):
            # It may be our own thread that is writing, and that goes on when we return.
            self._waits -= 1
            again = threading.Timer(WAIT_FOR_WRITER_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        else:
            self._signal = number
            try:
                self._end_runs()
                self.close(f"signal {number}")
            finally:
                self._end_by(number)

    def _end_runs(self) -> None:
        with self._lock:
            self._look(sources())  # for one that was made just now
            for recording in self._open():
                with contextlib.suppress(*self._errors):
                    recording.source.end(recording.run_id, "KILLED")

    def _end_by(self, number: int) -> None:
        # End as if we had not been here: the parent sees the signal.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Have one Ctrl-C wait: the second of two would take the record. Another one does not."""
    usual = signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) != usual:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, usual))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _exception() -> str:
    """Return the exception that ended the script, "" if none did."""
    kind, value = getattr(sys, "last_type", None), getattr(sys, "last_value", None)
    return f"{kind.__name__}: {value}"[:1000] if kind else ""
