"""Open a store to change it: no index at the same time, and a database that is this store's."""

from __future__ import annotations

from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import NoStore, StoreError
from runback.locked import locked
from runback.store import identity
from runback.store.schema import opened
from runback.store.seen import Memory

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Waiting = Callable[[], None]


@contextmanager
def writable(root: Path, waiting: Waiting | None = None) -> Iterator[Memory]:
    """Hold the index's lock, and the database open for writing. Raises NoStore, StoreError.

    waiting: called once if an index is at work, which is waited for.
    """
    database = root / "mlflow.db"
    if not database.exists():
        raise NoStore(root, (root / "mlruns").is_dir())
    store = identity.store_id(root)
    with locked(root / ".runback" / "index.lock", waiting), opened(database) as connection:
        memory = Memory(connection, store)
        if memory.is_foreign():
            raise StoreError(
                f"{database} was copied here from another store",
                f"runback index --store {quote(str(root))}   # makes it this store's",
            )
        yield memory


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Have all of it done, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
