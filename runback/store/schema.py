"""Open a store's database if we know its schema, and say what helps if not."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Heads of MLflow's migrations (mlflow/store/db_migrations/versions).
HEADS = {"dc11669786a5": "3.17", "b7e2c1a4d9f3": "3.16"}
# They would run with our writes. MLflow has one trigger, on a table that is none of ours.
_NOT_MLFLOWS = (
    "SELECT name FROM sqlite_master"
    " WHERE type = 'view' OR (type = 'trigger' AND tbl_name <> 'secrets')"
)
# MLflow's writers give up after 20 s of a locked database; we wait longer than they do.
WAIT_S = 60
# SQLite's 2 MB are too few where metrics are added to indexes that hold millions.
CACHE_KIB = 65_536


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Open the database for reading and writing. Raises StoreError.

    Transactions are the caller's (BEGIN IMMEDIATE). Foreign keys are left to the
    caller too: rows of many tables come in an order of their own.
    """
    try:
        connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=WAIT_S,
            isolation_level=None,
        )
    except sqlite3.Error as error:
        raise StoreError(f"{database} cannot be opened: {error}", _hint(database, error)) from error
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # The pages that a savepoint keeps for its ROLLBACK: not in a file for each run.
        connection.execute("PRAGMA temp_store = MEMORY")
        _check(connection, database)
        yield connection
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{database}: {error}", _hint(database, error)) from error
    finally:
        connection.close()


def is_closed(error: sqlite3.Error) -> bool:
    """Say whether a database, or what SQLite puts beside it, may not be opened by us."""
    # An error of the sqlite3 module itself has no code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def _hint(database: Path, error: sqlite3.Error | None = None) -> str:
    folder = quote(str(database.parent))
    # A full disk is an I/O error where the -shm file finds no room.
    if any(words in str(error) for words in ("full", "disk I/O error")):
        return f"df -h {folder}   # nothing was changed"
    if "locked" in str(error):
        return f"fuser {quote(str(database))}   # who holds it; nothing was changed"
    if error and is_closed(error) and database.exists():
        return f"ls -ld {folder} {quote(str(database))}   # who may write to it"
    return f"runback index --rebuild --store {folder}   # makes it anew from the runs' folders"


def _check(connection: sqlite3.Connection, database: Path) -> None:
    """Raise StoreError if the schema is not one of those we write to."""
    if not has_table(connection, "alembic_version"):
        raise StoreError(f"{database} is not an MLflow database", _hint(database))
    if names := [row[0] for row in connection.execute(_NOT_MLFLOWS)]:
        raise StoreError(
            f"{database} has triggers or views, which MLflow's has not: {', '.join(names)}"[:300],
            _hint(database),
        )
    heads = [str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")]
    if len(heads) == 1 and heads[0] in HEADS:
        return
    known = " and ".join(f"{head} (MLflow {version})" for head, version in HEADS.items())
    raise StoreError(
        f"{database} has schema {', '.join(heads) or 'none'}; this runback writes to {known}",
        f"if it is older: cp {quote(database.name)} backup.db && "
        f"mlflow db upgrade {quote(f'sqlite:///{database}')}; if it is newer: update runback",
    )


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", [name])
    return found.fetchone() is not None


def columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return names and types of the columns that can be written; {} if there is no such table."""
    sql = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden = 0"
    return dict(connection.execute(sql, [table]).fetchall())
