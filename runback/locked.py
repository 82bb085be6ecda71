"""Hold a file lock: one process at a time, free again when its holder dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def locked(
    path: Path, waiting: Callable[[], None] | None = None, is_inherited: bool = False
) -> Iterator[None]:
    """Hold the lock `path`; `waiting` is called once if another process has it.

    flock: the kernel lets go of it even after kill -9, and it holds between
    containers and host, which share the kernel. The file itself stays.
    is_inherited: it holds as long as a process that is started with close_fds=False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        os.set_inheritable(handle.fileno(), is_inherited)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
