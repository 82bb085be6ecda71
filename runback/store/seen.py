"""What the index saw last: its memory, in two tables of its own beside MLflow's.

In the same database, so that it changes in the same transaction, and is gone with it.
From it follows, without reading all, which records changed, which runs MLflow has
written to since, and what a person has edited. MLflow leaves tables alone that it
does not know.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.record.state import RUN_ID
from runback.store.schema import has_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runback.record.fields import Value

_TABLES = (
    "CREATE TABLE IF NOT EXISTS runback_runs (run_uuid TEXT PRIMARY KEY,"
    " owner TEXT, stamp TEXT, fields TEXT, edits TEXT, wrong TEXT)",
    "CREATE TABLE IF NOT EXISTS runback_store (name TEXT PRIMARY KEY, value TEXT)",
)
# All of a run that can change in place, as one text that SQL can compare.
_FIELDS = """
json_array(runs.name, runs.lifecycle_stage, runs.deleted_time, runs.status, runs.end_time,
 json((SELECT json_group_object(key, value) FROM
  (SELECT key, value FROM tags WHERE tags.run_uuid = runs.run_uuid ORDER BY key))))
"""
# Tables that only grow: the column that names the run.
_GROWING = {
    "metrics": "run_uuid",
    "params": "run_uuid",
    "inputs": "destination_id",
    "logged_models": "source_run_id",
    "logged_model_metrics": "run_id",
    "model_versions": "run_id",
}

Cursor = dict[str, list[int]]


@dataclass(frozen=True)
class Seen:
    """What the index knows of a run. owner: the store whose record it is. stamp: of the record.

    Both are "" if it had none.
    """

    owner: str
    stamp: str
    fields: str | None
    edits: str | None
    wrong: str | None


@dataclass(frozen=True)
class Now:
    """The fields of a run, and its status, as the database has them."""

    fields: dict[str, Value]
    status: str


class Memory:
    """What the index saw last, read and written through one connection."""

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self.connection = connection
        self.store = store

    def is_foreign(self) -> bool:
        """Say whether the database was another store's: copied over this one's."""
        has_memory = has_table(self.connection, "runback_store") or has_table(
            self.connection, "runback_runs"
        )
        return has_memory and self._value("store") != self.store

    def prepare(self) -> None:
        """Make the tables; what another store saw says nothing of the files here."""
        foreign = self.is_foreign()
        for statement in _TABLES:
            self.connection.execute(statement)
        if foreign:
            self.connection.execute("DELETE FROM runback_runs")
            self.connection.execute("DELETE FROM runback_store WHERE name <> 'store'")
        else:
            self.claim()

    def claim(self) -> None:
        """Make the database this store's. Of another's, when all of it has been looked through."""
        self._keep("store", self.store)

    def all(self) -> dict[str, Seen]:
        """Return what was seen of each run; of a foreign database what that other store saw."""
        if not has_table(self.connection, "runback_runs"):
            return {}
        rows = self.connection.execute(
            "SELECT run_uuid, owner, stamp, fields, edits, wrong FROM runback_runs"
        )
        return {row[0]: Seen(*row[1:]) for row in rows}

    def changed(self) -> set[str]:
        """Return the runs whose fields the database has otherwise than they were seen."""
        if self.is_foreign() or not has_table(self.connection, "runback_runs"):
            return {row[0] for row in self.connection.execute("SELECT run_uuid FROM runs")}
        rows = self.connection.execute(
            "SELECT runs.run_uuid FROM runs LEFT JOIN runback_runs AS seen USING (run_uuid)"
            f" WHERE seen.fields IS NOT {_FIELDS}"
        )
        return {row[0] for row in rows}

    def grown(self, now: Cursor, before: Cursor | None = None) -> set[str]:
        """Return the runs that have got metrics, params, inputs or models.

        before: since then; since what was seen last without it.
        """
        if before is None:
            before = {} if self.is_foreign() else _parsed(self._value("cursor"))
        found: set[str] = set()
        for table, column in _GROWING.items():
            last, count = before.get(table, [0, 0])
            new_last, new_count = now[table]
            if (last, count) == (new_last, new_count):
                continue
            newer = self._runs(table, column, last)
            if count + newer[1] != new_count:
                newer = self._runs(table, column, 0)  # rows were deleted, row numbers used again
            found |= newer[0]
        return found

    def _runs(self, table: str, column: str, after: int) -> tuple[set[str], int]:
        rows = self.connection.execute(
            f"SELECT {column}, COUNT(*) FROM {table} WHERE rowid > ? GROUP BY {column}", [after]
        ).fetchall()
        # The end of an output is a model: its run is found by the model.
        return {run for run, _ in rows if RUN_ID.fullmatch(str(run))}, sum(n for _, n in rows)

    def cursor(self) -> Cursor:
        """Return the last row number and the number of rows of each growing table."""
        found = {}
        for table in _GROWING:
            # Each alone has a short cut in SQLite; together they read every row.
            sql = f"SELECT (SELECT MAX(rowid) FROM {table}), (SELECT COUNT(*) FROM {table})"
            row = self.connection.execute(sql).fetchone()
            found[table] = [row[0] or 0, row[1]]
        return found

    @contextmanager
    def shrinking(self) -> Iterator[None]:
        """Keep the last cursor true while rows are deleted: no other run has changed by that."""
        cursor = {} if self.is_foreign() else _parsed(self._value("cursor"))
        if not cursor:  # nothing was counted yet, or by another store
            yield
            return
        counted = [
            table for table in cursor if self._up_to(table, cursor[table][0]) == cursor[table]
        ]
        yield
        for table in counted:
            cursor[table] = self._up_to(table, cursor[table][0])
        self.keep_cursor(cursor)

    def _up_to(self, table: str, rowid: int) -> list[int]:
        if table not in _GROWING:
            return []
        sql = f"SELECT COALESCE(MAX(rowid), 0), COUNT(*) FROM {table} WHERE rowid <= ?"
        return list(self.connection.execute(sql, [rowid]).fetchone())

    def now(self, run_id: str) -> Now | None:
        """Return the run's fields as they are in the database."""
        row = self.connection.execute(
            f"SELECT {_FIELDS} FROM runs WHERE run_uuid = ?", [run_id]
        ).fetchone()
        return parse(row[0]) if row else None

    def keep(self, run_id: str, seen: Seen) -> None:
        """Remember the record that the run was read from; `keep_fields` remembers the rest."""
        self.connection.execute(
            "INSERT OR REPLACE INTO runback_runs (run_uuid, owner, stamp, fields, edits, wrong)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [run_id, *dataclasses.astuple(seen)],
        )

    def keep_fields(self, run_ids: Iterable[str]) -> None:
        """Remember the fields as they now are; after the last change of this transaction."""
        self.connection.executemany(
            f"UPDATE runback_runs SET fields = (SELECT {_FIELDS} FROM runs"
            " WHERE runs.run_uuid = runback_runs.run_uuid) WHERE run_uuid = ?",
            [[run_id] for run_id in run_ids],
        )

    def forget(self, run_ids: Iterable[str]) -> None:
        """Have the next index look at these runs again."""
        self.connection.executemany(
            "UPDATE runback_runs SET fields = NULL WHERE run_uuid = ?", [[r] for r in run_ids]
        )

    def bury(self, run_ids: Iterable[str]) -> None:
        """Remember runs that are about to be removed for good as deleted: none comes back."""
        rows = [[run_id] for run_id in run_ids]
        self.connection.executemany(
            "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", rows
        )
        self._know(rows)
        self.keep_fields(run_ids)

    def note(self, run_id: str, time_ms: int, edits: Mapping[str, Value]) -> None:
        """Remember edits, values by field, that are about to be written to the record.

        If they are not, the next index does.
        """
        self._know([[run_id]])
        self.connection.execute(
            "UPDATE runback_runs SET stamp = iif(stamp = 'away', stamp, ''), edits = json_patch("
            "CASE WHEN json_valid(edits) THEN edits ELSE '{}' END, ?) WHERE run_uuid = ?",
            [json.dumps({field: [time_ms, edits[field]] for field in edits}), run_id],
        )

    def _know(self, rows: list[list[str]]) -> None:
        self.connection.executemany(
            "INSERT OR IGNORE INTO runback_runs (run_uuid, owner, stamp) VALUES (?, '', '')", rows
        )

    def keep_cursor(self, cursor: Cursor) -> None:
        self._keep("cursor", json.dumps(cursor))

    def _keep(self, name: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO runback_store VALUES (?, ?)", [name, value])

    def _value(self, name: str) -> Any:
        if not has_table(self.connection, "runback_store"):
            return None
        row = self.connection.execute("SELECT value FROM runback_store WHERE name = ?", [name])
        found = row.fetchone()
        return found[0] if found else None


def _parsed(text: Any) -> Cursor:
    try:
        return dict(json.loads(text or "{}"))
    except (ValueError, TypeError):
        return {}


def parse_seen(text: str | None) -> dict[str, Value] | None:
    """Return the fields that were seen; None if there are none, or if they are nonsense."""
    try:
        return parse(text).fields if text else None
    except (ValueError, TypeError, AttributeError):
        return None


def parse_edits(text: str | None) -> dict[str, tuple[int, Value]]:
    """Return the edits that this store had noted, time (ms) and value by field."""
    try:
        return {field: (int(ms), value) for field, (ms, value) in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def parse(text: str) -> Now:
    """Return what the text that SQL compares says."""
    name, stage, deleted, status, _end, tags = json.loads(text)
    fields = {"name": name, "lifecycle_stage": stage, "deleted_time": deleted}
    return Now({**fields, **{f"tag:{key}": value for key, value in tags.items()}}, status)
