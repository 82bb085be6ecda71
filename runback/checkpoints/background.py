"""Do what may wait in one thread, in order, and keep what went wrong for the next who asks."""

from __future__ import annotations

import collections
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

    def submit(self, work: Callable[[], None]) -> None:
        """Do this after all that was submitted before. Raises what failed meanwhile."""
        while len(self._pending) >= MOST:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(work))

    def check(self) -> None:
        """Raise what failed since it was asked last."""
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()

    def wait(self) -> list[RunbackError]:
        """Wait until all is done; return what failed."""
        failures = []
        while self._pending:
            error = self._pending.popleft().exception()
            if isinstance(error, RunbackError):
                failures.append(error)
            elif error:
                raise error
        self._pool.shutdown()
        return failures
