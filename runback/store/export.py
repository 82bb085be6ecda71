"""Read a run out of MLflow's tables: every row that is its own."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.record.metrics import Point
from runback.store.schema import columns, is_closed
from runback.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.record.state import Rows


@contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read from it while others write. Raises sqlite3.Error.

    Of one in a folder that we may not write to, what was the case when it was opened.
    """
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(_opened(database, "mode=ro"))
        except sqlite3.OperationalError as error:
            is_ours = os.access(database.parent, os.W_OK)
            if is_ours or not is_closed(error) or not os.access(database, os.R_OK):
                raise
            connection = stack.enter_context(_as_it_is(database))
        yield connection


@contextmanager
def _opened(database: Path, options: str) -> Iterator[sqlite3.Connection]:
    uri = f"{database.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=20, isolation_level=None)
    try:
        connection.execute("PRAGMA schema_version")  # nothing is opened before
        yield connection
    finally:
        connection.close()


@contextmanager
def _as_it_is(database: Path) -> Iterator[sqlite3.Connection]:
    """Read without the files that SQLite cannot make in this folder.

    If a write is to be completed or undone first, that happens to a copy.
    """
    beside = (database.with_name(f"{database.name}{end}") for end in ("-wal", "-journal"))
    logs = [path for path in beside if path.exists() and path.stat().st_size]
    if not logs:
        with _opened(database, "mode=ro&immutable=1") as connection:
            yield connection
        return
    import shutil  # not for every `runback ls`
    import tempfile

    with tempfile.TemporaryDirectory(prefix="runback-") as folder:
        for path in (database, *logs):
            shutil.copyfile(path, Path(folder, path.name))
        with _opened(Path(folder, database.name), "mode=rw") as connection:
            yield connection


class Reader:
    """Reads runs through one connection; remembers the statements, which the schema decides."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._statements = {}
        for table in TABLES:
            if names := columns(connection, table.name):
                quoted = ", ".join(f'"{name}"' for name in names)
                sql = f"SELECT {quoted} FROM {table.name} WHERE {table.where} ORDER BY rowid"
                self._statements[table.name] = (names, sql)

    def rows(self, run_id: str) -> Rows:
        """Return the rows of a run, table by table, but for its metric points; {} if unknown."""
        found: Rows = {}
        for table, (names, sql) in self._statements.items():
            rows = self.connection.execute(sql, {"run": run_id}).fetchall()
            if rows:
                found[table] = [dict(zip(names, row, strict=True)) for row in rows]
        return found if "runs" in found else {}

    def points(self, run_id: str, after: int = 0) -> tuple[list[Point], int]:
        """Return the run's metric points in the order logged, and the last one's row number.

        after: leave out those up to this row number. Row numbers grow: SQLite gives a
        new row the largest yet and one.
        """
        found = self.connection.execute(
            "SELECT rowid, key, value, timestamp, step, is_nan FROM metrics"
            " WHERE run_uuid = ? AND rowid > ? ORDER BY rowid",
            [run_id, after],
        ).fetchall()
        points = [Point(row[1], row[2], row[3], row[4], bool(row[5])) for row in found]
        return points, found[-1][0] if found else after

    def status(self, run_id: str) -> str:
        """Return a run's status, or "" if there is no such run."""
        found = self.connection.execute("SELECT status FROM runs WHERE run_uuid = ?", [run_id])
        row: Any = found.fetchone()
        return str(row[0]) if row else ""
