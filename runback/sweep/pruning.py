"""A trial's side of a search: say after each epoch how it goes, and hear whether to end.

In a process that no search began, nothing is said, and nothing ends early; but for the
replay of a trial that was pruned, which ends where that did.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from runback.store.tags import PRUNED_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

# An open socket, whose other end the search has: its number, and what it is.
VARIABLE = "RUNBACK_SWEEP"
ORIGINAL = "RUNBACK_REPLAY"


class Pruning:
    """Ask after each epoch whether a training is to end early; made once its run has begun.

        pruning = Pruning()
        for epoch in range(epochs):
            …
            if pruning.is_due(epoch, {"val_loss": loss}):
                break

    A run that ends so has the tag runback.pruned, with the epoch, and a name that says it.
    """

    def __init__(self) -> None:
        self._search = None if os.environ.get(ORIGINAL) else _search()
        self._last = None if self._search else _last_epoch_of_original()
        if self._search and (run_id := _run_id()):
            self._search.say(run=run_id)
            _tag(run_id, **{"mlflow.runName": self._search.name})

    def is_due(self, epoch: int, metrics: Mapping[str, Any]) -> bool:
        """Say whether this epoch, counted from 0, is to be the last. metrics: of the epoch."""
        is_due = self._search.ask(epoch, metrics) if self._search else epoch == self._last
        if is_due and (run_id := _run_id()):
            name = {"mlflow.runName": f"{self._search.name}-pruned"} if self._search else {}
            _tag(run_id, **{PRUNED_TAG: str(epoch)}, **name)
        return is_due


class _Search:
    """The line to the search that began this process."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._owner = os.getpid()
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="runback-sweep", daemon=True).start()
        greeting = self._answer()
        self.name: str = greeting["name"]
        self._metric: str = greeting["metric"]

    def say(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # the search is gone: `_listen` sees that too
            self._line.sendall(json.dumps(message).encode() + b"\n")

    def ask(self, epoch: int, metrics: Mapping[str, Any]) -> bool:
        if os.getpid() != self._owner:
            return False  # forked: the thread that listens is the parent's
        found = metrics.get(self._metric)
        value = None if found is None else float(found)
        self.say(epoch=epoch, value=value, metrics=sorted(metrics))
        return value is not None and bool(self._answer()["prune"])

    def _answer(self) -> dict[str, Any]:
        answer = self._answers.get()
        if answer is None:  # here only in another thread than the main one, which has the signal
            self._answers.put(None)
            raise SystemExit(128 + signal.SIGTERM)
        return answer

    def _listen(self) -> None:
        # It is reset, not closed, by a search that was killed with something of ours unread.
        with contextlib.suppress(ConnectionError), self._line.makefile("rb") as lines:
            for line in lines:
                self._answers.put(json.loads(line))
        # The search is gone; the same one, started again, will begin this trial anew.
        os.kill(os.getpid(), signal.SIGTERM)
        self._answers.put(None)


def name_of(line: int) -> str:
    """Return how a socket is named in VARIABLE.

    Its number alone would do in the process that it is for. One that this starts has the
    variable too, and there the number may be of a socket of its own.
    """
    return f"{line}:{os.fstat(line).st_ino}"


@functools.cache
def _search() -> _Search | None:
    """Return the line to the search, None in a process that none began."""
    name = os.environ.get(VARIABLE, "")
    try:
        number = int(name.partition(":")[0])
        if name_of(number) != name:
            return None
        line = socket.socket(fileno=number)
    except (ValueError, OSError):
        return None  # also in a process that a trial began: the socket is not open there
    os.set_inheritable(line.fileno(), False)
    return _Search(line)


def _last_epoch_of_original() -> int | None:
    """Return the epoch after which the run that is replayed here was pruned, None if it was not."""
    original = os.environ.get(ORIGINAL)
    if not original or "mlflow" not in sys.modules:
        return None
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        found = MlflowClient().get_run(original).data.tags.get(PRUNED_TAG, "")
    except MlflowException:
        return None
    return int(found) if found.isascii() and found.isdigit() else None


def _run_id() -> str | None:
    """Return the run that is active in this thread."""
    if "mlflow" not in sys.modules:
        return None
    import mlflow

    active = mlflow.active_run()
    return str(active.info.run_id) if active else None


def _tag(run_id: str, **tags: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    for name, text in tags.items():
        client.set_tag(run_id, name, text)
