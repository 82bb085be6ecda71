"""Open a store to read what MLflow's tables say, without MLflow, while others write to it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import NoStore, StoreError
from runback.store.export import reading
from runback.store.schema import has_table, is_closed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def readable(root: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of the store in the folder `root`; all that is read is of one moment.

    Raises NoStore if there is none, StoreError if it is no database of MLflow's.
    """
    database = root / "mlflow.db"
    if not database.exists():
        above = [parent for parent in root.parents if (parent / "mlflow.db").exists()]
        raise NoStore(root, (root / "mlruns").is_dir(), above[0] if above else None)
    try:
        with reading(database) as connection:
            if not has_table(connection, "logged_models") or not has_table(connection, "runs"):
                raise StoreError(f"{database} is not a database of MLflow 3", _upgrade(database))
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{database} cannot be read: {error}", _hint(database, error)) from error


def _hint(database: Path, error: sqlite3.Error) -> str:
    folder = quote(str(database.parent))
    if is_closed(error):
        return f"ls -ld {folder} {quote(str(database))}   # who may read it"
    return f"runback index --rebuild --store {folder}   # makes it anew from the runs' folders"


def _upgrade(database: Path) -> str:
    return f"mlflow db upgrade {quote(f'sqlite:///{database}')}   # if an older MLflow made it"
