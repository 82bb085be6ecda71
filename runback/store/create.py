"""Make the tracking store once, whoever comes first.

MLflow's first contact with a new database runs its migrations without a lock:
of eight trainings that start at once on a new store, five to seven crash.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import StoreError
from runback.locked import locked
from runback.store.filestore import is_file_store, migrate
from runback.store.identity import store_id
from runback.store.seen import Memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def create(database: Path, say: Callable[[str], None]) -> None:
    """Make `database` with MLflow's own migration, in WAL mode; nothing if it is there.

    It is made under another name and renamed, so a kill leaves no half store.
    Its Default experiment keeps artifacts in `mlruns/` beside it. What an old file
    store in `mlruns/` holds is taken in. Raises StoreError.
    """
    if database.exists():
        return
    try:
        with locked(database.with_name(".runback") / "store.lock"):
            if not database.exists():
                say(f"making {database.name}, the tracking store (once)")
                _make(database, say)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"the tracking store {database} cannot be made: {reason}",
            f"ls -ld {quote(str(database.parent))}; df -h {quote(str(database.parent))}",
        ) from error


def copy_or_make(database: Path, copy: Path) -> None:
    """Make `copy` what `database` is, or would be if it were created. Raises StoreError."""
    if not database.exists():
        _fill(copy, database.with_name("mlruns"))
        return
    try:
        here = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        with contextlib.closing(here), contextlib.closing(sqlite3.connect(copy)) as there:
            here.backup(there)
    except sqlite3.Error as error:
        raise StoreError(
            f"{database} cannot be read: {error}",
            f"runback index --rebuild --store {quote(str(database.parent))}",
        ) from error


def _fill(draft: Path, mlruns: Path) -> None:
    if is_file_store(mlruns):
        migrate(mlruns, draft)
    else:
        _migrate(draft, mlruns)


def _make(database: Path, say: Callable[[str], None]) -> None:
    draft = database.parent / ".runback" / "mlflow.db"
    for left_over in draft.parent.glob("mlflow.db*"):  # of one that was killed: we hold the lock
        left_over.unlink()
    mlruns = database.with_name("mlruns")
    if is_file_store(mlruns):
        say("mlruns/ is an old file store: MLflow's migration takes it in, and leaves it as it is")
        # Plain MLflow would go on to choose the file store, and then refuse it.
        say(f"for other tools: export MLFLOW_TRACKING_URI=sqlite:///{quote(str(database))}")
    _fill(draft, mlruns)
    # WAL: a reader does not block a training, and a commit costs a quarter less.
    connection = sqlite3.connect(draft)
    connection.execute("PRAGMA journal_mode=WAL")
    Memory(connection, store_id(database.parent)).prepare()
    connection.commit()
    connection.close()
    move_away(database)
    draft.rename(database)


def move_away(database: Path) -> Path | None:
    """Move a database aside, into `.runback/replaced/`; return where it is, None if there is none.

    With its -wal, first: left behind, SQLite would put that into the next database.
    """
    folder = database.parent / ".runback" / "replaced" / time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("-wal", "-shm", "-journal", ""):
        path = database.with_name(database.name + suffix)
        if path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
    return folder / database.name if (folder / database.name).exists() else None


def _migrate(draft: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import DBAPIError

    for noisy in ("alembic.runtime.migration", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        SqlAlchemyStore(f"sqlite:///{draft}", str(artifacts)).engine.dispose()
    except DBAPIError as error:
        raise sqlite3.OperationalError(str(error.orig)) from error
