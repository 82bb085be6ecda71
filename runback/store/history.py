"""Read the history of a metric: all of its points, or some of them at a cost that does not grow.

MLflow's index (run_uuid, key, step) leads to a step without reading what lies before
it; within a step SQLite keeps rows in the order logged, and the last one counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.record.metrics import Point
from runback.store.listing import number

if TYPE_CHECKING:
    import sqlite3

_COLUMNS = "SELECT key, value, timestamp, step, is_nan FROM metrics"
_POINTS = f"{_COLUMNS} WHERE run_uuid = :run AND key = :key"
_FIRST_FROM = (
    f"{_POINTS} AND step = (SELECT MIN(step) FROM metrics WHERE run_uuid = :run AND key = :key"
    " AND step >= :step) ORDER BY rowid DESC LIMIT 1"
)
_LAST = f"{_POINTS} ORDER BY step DESC, rowid DESC LIMIT 1"


def samples(
    connection: sqlite3.Connection, run_id: str, key: str, count: int
) -> list[tuple[int, float]]:
    """Return at most `count` steps with their values, spread over the steps, first and last too.

    NaN and infinities are floats; where a step was logged again, its last value counts.
    Reads some `count` rows, whatever the number of points.
    """
    names = {"run": run_id, "key": key}
    first = connection.execute(_FIRST_FROM, {**names, "step": -(2**63)}).fetchone()
    if first is None:
        return []
    found = _ended(connection, names, count)
    if found is None:
        low, high = first[3], connection.execute(_LAST, names).fetchone()[3]
        spread = max(1, count - 1)
        steps = [high - (high - low) * k // spread for k in range(count)]
        rows = [connection.execute(_FIRST_FROM, {**names, "step": s}).fetchone() for s in steps]
        found = {row[3]: number(row[1], row[4]) for row in rows}
    return sorted(found.items())


def points(connection: sqlite3.Connection, run_id: str, key: str) -> list[Point]:
    """Return all points of a metric, by step, those of a step in the order logged."""
    sql = f"{_POINTS} ORDER BY step, rowid"
    return [_point(row) for row in connection.execute(sql, {"run": run_id, "key": key})]


def all_points(connection: sqlite3.Connection, run_id: str) -> list[Point]:
    """Return the points of all metrics of a run, in the order logged."""
    sql = f"{_COLUMNS} WHERE run_uuid = ? ORDER BY rowid"
    return [_point(row) for row in connection.execute(sql, [run_id])]


def _ended(
    connection: sqlite3.Connection, names: dict[str, str], count: int
) -> dict[int, float] | None:
    """Return all steps with their values, None if the metric has more than `count` points."""
    sql = f"{_POINTS} ORDER BY step, rowid LIMIT :limit"
    rows = connection.execute(sql, {**names, "limit": count + 1}).fetchall()
    return None if len(rows) > count else {row[3]: number(row[1], row[4]) for row in rows}


def _point(row: tuple[str, float, int, int, int]) -> Point:
    return Point(*row[:4], bool(row[4]))
