"""Do what may wait in one thread, in order, and keep what went wrong for the next who asks."""

from __future__ import annotations

import collections
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from collections.abc import Callable

# A training that is faster than its disk waits here, and does not fill the disk with drafts.
MOST = 2


class Background:
    """One thread for one experiment; the interpreter waits for it at its exit."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="runback-checkpoint")
        self._pending: collections.deque[Future[None]] = collections.deque()
        # A handler of a signal may checkpoint, perhaps in the midst of another call.
        self._lock = threading.RLock()
        self._is_over = False

    def submit(self, work: Callable[[], None]) -> None:
        """Do this after all that was submitted before. Raises what failed meanwhile."""
        with self._lock:
            while len(self._pending) >= MOST:
                self._pending.popleft().result()
            if not self._is_over:
                self._pending.append(self._pool.submit(work))
                return
        work()  # another thread has stopped the experiment since this one was asked

    def check(self) -> None:
        """Raise what failed since it was asked last."""
        with self._lock:
            while self._pending and self._pending[0].done():
                self._pending.popleft().result()

    def wait(self) -> list[RunbackError]:
        """Wait until all is done; return what failed."""
        failures = []
        with self._lock:
            self._is_over = True
        while self._pending:
            error = self._pending.popleft().exception()
            if isinstance(error, RunbackError):
                failures.append(error)
            elif error:
                raise error
        self._pool.shutdown()
        return failures
