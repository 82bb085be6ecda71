"""Read the history of a metric: all of its points, or some of them at a cost that does not grow.

MLflow's index (run_uuid, key, step) leads to a step without reading what lies before
it; within a step SQLite keeps rows in the order logged, and the last one counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.record.metrics import LARGEST, Point, number

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


def count(connection: sqlite3.Connection, run_id: str, key: str) -> int:
    """Return the number of points of a metric."""
    sql = "SELECT COUNT(*) FROM metrics WHERE run_uuid = ? AND key = ?"
    return int(connection.execute(sql, [run_id, key]).fetchone()[0])


def by_step(
    connection: sqlite3.Connection, run_id: str, key: str, most: int | None = None
) -> list[Point]:
    """Return the last point of each step. most: thin them out to some `most`, as `by_time` does."""
    # SQLite takes the other columns from the row that has the largest rowid.
    sql = f"{_POINTS.replace(' FROM', ', MAX(rowid) FROM')} GROUP BY step ORDER BY step"
    return _thinned(connection, sql, {"run": run_id, "key": key}, most)


def by_time(
    connection: sqlite3.Connection, run_id: str, key: str, most: int | None = None
) -> list[Point]:
    """Return the points in the order of time.

    most: thin them out to some `most`: the ends, and of each stretch of as many points the
    lowest, the highest and the first that is not finite: no peak and no gap is lost.
    """
    sql = f"{_POINTS} ORDER BY timestamp, rowid"
    return _thinned(connection, sql, {"run": run_id, "key": key}, most)


def all_points(connection: sqlite3.Connection, run_id: str) -> list[Point]:
    """Return the points of all metrics of a run, in the order logged."""
    sql = f"{_COLUMNS} WHERE run_uuid = ? ORDER BY rowid"
    return [_point(row) for row in connection.execute(sql, [run_id])]


def _thinned(
    connection: sqlite3.Connection, sql: str, names: dict[str, str], most: int | None
) -> list[Point]:
    total = count(connection, names["run"], names["key"])
    cursor = connection.execute(sql, names)
    if most is None or total <= most:
        return [_point(row) for row in cursor]
    found: dict[Point, None] = {}
    stretch: list[Point] = []
    # Three of each stretch; fetched stretch by stretch: there may be millions of rows.
    while rows := cursor.fetchmany(max(1, total * 3 // most)):
        is_first, stretch = not stretch, [_point(row) for row in rows]
        found |= dict.fromkeys(stretch[:1] if is_first else [])
        found |= dict.fromkeys(_outline(stretch))
    return list(found | dict.fromkeys(stretch[-1:]))


def _outline(stretch: list[Point]) -> list[Point]:
    """Return the lowest, the highest and the first that is not finite, in their order."""
    finite = [p for p in stretch if not p.is_nan and abs(p.value) < LARGEST]
    others = [p for p in stretch if p.is_nan or abs(p.value) >= LARGEST]
    kept = others[:1]
    if finite:
        kept += [min(finite, key=lambda p: p.value), max(finite, key=lambda p: p.value)]
    return [p for p in dict.fromkeys(stretch) if p in kept]


def _ended(
    connection: sqlite3.Connection, names: dict[str, str], count: int
) -> dict[int, float] | None:
    """Return all steps with their values, None if the metric has more than `count` points."""
    sql = f"{_POINTS} ORDER BY step, rowid LIMIT :limit"
    rows = connection.execute(sql, {**names, "limit": count + 1}).fetchall()
    return None if len(rows) > count else {row[3]: number(row[1], row[4]) for row in rows}


def _point(row: tuple[str, float, int, int, int]) -> Point:
    return Point(*row[:4], bool(row[4]))
