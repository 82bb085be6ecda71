"""Insert a run's rows into MLflow's tables: only columns that are there, only what is the run's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.store.schema import columns
from runback.store.tables import KEYS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from runback.record.state import Row

_INFINITIES = {"Infinity": float("inf"), "-Infinity": float("-inf")}


class Writer:
    """Writes rows as dicts; remembers each table's columns and the statements made of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._types: dict[str, dict[str, str]] = {}
        self._statements: dict[tuple[str, tuple[str, ...], str], str] = {}

    def upsert(self, table: str, rows: Iterable[Row], guard: str = "") -> None:
        """Insert the rows; where the primary key is there, update it if `guard` (SQL) holds.

        guard: "" always updates; "0" keeps what is there. Columns that this database
        does not have are left out: a newer MLflow's, which it could not use.
        """
        types = self._columns(table)
        for row in rows if types else ():
            names = tuple(name for name in row if name in types)
            values = [_number(row[name], types[name]) for name in names]
            self.connection.execute(self._statement(table, names, guard), values)

    def _columns(self, table: str) -> dict[str, str]:
        if table not in self._types:
            self._types[table] = columns(self.connection, table)
        return self._types[table]

    def _statement(self, table: str, names: tuple[str, ...], guard: str) -> str:
        known = self._statements.get((table, names, guard))
        if known:
            return known
        key = KEYS[table]
        quoted = ", ".join(f'"{name}"' for name in names)
        changed = ", ".join(f'"{n}" = excluded."{n}"' for n in names if n not in key)
        conflict = f"DO UPDATE SET {changed}" if changed and guard != "0" else "DO NOTHING"
        where = f" WHERE {guard}" if guard not in ("", "0") and changed else ""
        sql = (
            f"INSERT INTO {table} ({quoted}) VALUES ({', '.join('?' * len(names))})"
            f" ON CONFLICT ({', '.join(key)}) {conflict}{where}"
        )
        return self._statements.setdefault((table, names, guard), sql)

    def one(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row, None without one."""
        row = self.connection.execute(sql, values).fetchone()
        return row[0] if row else None


def _number(value: Any, kind: str) -> Any:
    if kind == "FLOAT" and isinstance(value, str):
        return _INFINITIES.get(value, value)
    return value
