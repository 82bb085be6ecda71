"""What waits between a training that notes its ledger and the records of its runs.

A line belongs to the run that is active in the thread that notes it. Where there is none
(in a thread of its own), it belongs to every run that goes on then, or to the next.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from runback.capture import loaded
from runback.record import ledger
from runback.record.files import LEDGER
from runback.terminal import say

VARIABLE = "RUNBACK_LEDGER"
OFF = "off"
LEVELS = (ledger.EPOCH, ledger.STEP, OFF)
# Where nobody records, the oldest lines go.
LARGEST_BYTES = 32_000_000


def level() -> str:
    """Return how much is to be noted, one of LEVELS; nothing where nothing is recorded."""
    return OFF if os.environ.get("RUNBACK_RECORD") == "0" else _level(os.environ.get(VARIABLE, ""))


@functools.cache
def _level(word: str) -> str:
    if word in LEVELS:
        return word
    if word:
        say(f"warning: {VARIABLE}={word} is none of {', '.join(LEVELS)}; taken as {ledger.EPOCH}")
    return ledger.EPOCH


@dataclass
class Entry:
    """run_id: "" of none. line: b"" of an entry that says only what is missing."""

    run_id: str
    line: bytes
    lacks: str
    noted_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    takers: set[str] = field(default_factory=set)

    def is_of(self, run_id: str, began_ms: int, ended_ms: int | None) -> bool:
        """Say whether a run may take this: nobody's goes to each that went on then, or the next."""
        if self.run_id or run_id in self.takers:
            return self.run_id == run_id
        if self.noted_ms < began_ms:
            return not self.takers
        return ended_ms is None or self.noted_ms <= ended_ms


class Queue:
    """Lines that no record has yet, in the order in which they were noted."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin anew: also in a forked child, to which the parent's lines do not belong."""
        # A signal's handler takes what there is, perhaps in the midst of a note.
        self._lock = threading.RLock()
        self._entries = deque[Entry]()
        self._bytes = 0
        self._dropped = Counter[str]()
        self._said = set[str]()

    def note(self, line: ledger.Line) -> None:
        """Add a line. Raises ValueError if it is longer than a reader takes."""
        text = ledger.to_line(line)
        if len(text) >= ledger.LONGEST_LINE_BYTES:
            raise ValueError(f"a line would have {len(text)} bytes")
        self._add(Entry(_active_run(), text, ""))

    def stop(self, reason: str) -> None:
        """Say, once, why a training's ledger ends here, and keep it for the record."""
        if reason not in self._said:
            self._said.add(reason)
            say(f"warning: the ledger of this training stops here: {reason}")
        lacks = f"{LEDGER}: it stops before the training's end: {reason}"
        self._add(Entry(_active_run(), b"", lacks))

    def _add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            self._bytes += len(entry.line)
            while self._bytes > LARGEST_BYTES:
                oldest = self._entries.popleft()
                self._bytes -= len(oldest.line)
                self._dropped[oldest.run_id] += 0 if oldest.takers else 1

    def take(
        self, run_id: str, began_ms: int, ended_ms: int | None
    ) -> tuple[list[bytes], list[str]]:
        """Return the lines of a run since the last call, and what its ledger lacks.

        began_ms, ended_ms: of the run, since 1970; None as long as it goes on.
        """
        with self._lock:
            taken = [each for each in self._entries if each.is_of(run_id, began_ms, ended_ms)]
            for entry in taken:
                entry.takers.add(run_id)
            if any(entry.run_id for entry in taken):
                self._entries = deque(e for e in self._entries if e.run_id != run_id)
                self._bytes = sum(len(entry.line) for entry in self._entries)
            dropped = self._dropped.pop(run_id, 0) + self._dropped.pop("", 0)
        lacks = [entry.lacks for entry in taken if entry.lacks]
        if dropped:
            lacks.append(f"{LEDGER}: {dropped} lines were dropped, as nobody took them")
        return [entry.line for entry in taken if entry.line], lacks

    def has(self, run_id: str) -> bool:
        """Say whether lines of this run alone wait."""
        with self._lock:
            return any(entry.run_id == run_id for entry in self._entries)


QUEUE = Queue()


def _active_run() -> str:
    """Return the id of the run that is active in this thread, "" without one."""
    run = loaded.call("mlflow.tracking.fluent", "active_run")
    return str(run.info.run_id) if run else ""
