"""What waits between a training that notes its ledger and the records of its runs.

A line belongs to the run that is active in the thread that notes it. Where there is none
(a bare client's run), it belongs to every run that is recorded then, or to the next.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from runback.capture import loaded
from runback.record import ledger
from runback.record.files import LEDGER
from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Entry(NamedTuple):
    """run_id: "" of none. line: b"" of an entry that says only what is missing."""

    run_id: str
    line: bytes
    lacks: str = ""


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
        self._add(Entry(_active_run(), text))

    def stop(self, reason: str) -> None:
        """Say, once, why a training's ledger ends here, and keep it for the record."""
        if reason not in self._said:
            self._said.add(reason)
            say(f"warning: the ledger of this training stops here: {reason}")
        self._add(
            Entry(_active_run(), b"", f"{LEDGER}: it stops before the training's end: {reason}")
        )

    def _add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            self._bytes += len(entry.line)
            while self._bytes > LARGEST_BYTES:
                oldest = self._entries.popleft()
                self._bytes -= len(oldest.line)
                self._dropped[oldest.run_id] += 1

    def give(self, run_ids: Sequence[str]) -> None:
        """Give what belongs to no run to these; to the next ones if there are none."""
        with self._lock:
            if not run_ids or not any(entry.run_id == "" for entry in self._entries):
                return
            given = deque[Entry]()
            for entry in self._entries:
                owners = [entry.run_id] if entry.run_id else run_ids
                given.extend(entry._replace(run_id=owner) for owner in owners)
            self._entries = given
            self._bytes = sum(len(entry.line) for entry in given)
            for run_id in run_ids:
                self._dropped[run_id] += self._dropped[""]
            del self._dropped[""]

    def take(self, run_id: str) -> tuple[list[bytes], list[str]]:
        """Return the lines of a run since the last call, and what its ledger lacks."""
        with self._lock:
            own = [entry for entry in self._entries if entry.run_id == run_id]
            if own:
                self._entries = deque(e for e in self._entries if e.run_id != run_id)
                self._bytes -= sum(len(entry.line) for entry in own)
            dropped = self._dropped.pop(run_id, 0)
        lacks = [entry.lacks for entry in own if entry.lacks]
        if dropped:
            lacks.append(f"{LEDGER}: its first {dropped} lines were dropped, as nobody took them")
        return [entry.line for entry in own if entry.line], lacks

    def has(self, run_id: str) -> bool:
        """Say whether lines of this run wait."""
        with self._lock:
            return any(entry.run_id == run_id for entry in self._entries)


QUEUE = Queue()


def _active_run() -> str:
    """Return the id of the run that is active in this thread, "" without one."""
    run = loaded.call("mlflow.tracking.fluent", "active_run")
    return str(run.info.run_id) if run else ""
