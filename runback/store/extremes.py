"""Find the best value of a metric over all runs, and what runs say of its goal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from runback.record import primary
from runback.record.metrics import LARGEST
from runback.store.tags import PRIMARY_TAG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


class Extreme(NamedTuple):
    """A run's value of a metric, and its step."""

    run_id: str
    value: float
    step: int


def best(
    connection: sqlite3.Connection,
    metric: str,
    highest: bool,
    experiment: str | None = None,
    among: Sequence[str] | None = None,
) -> Extreme | None:
    """Return the highest or lowest finite value that a run which is not deleted has logged.

    among: only these runs, by their ids.
    """
    order = "DESC" if highest else "ASC"
    where, values = ("AND experiments.name = ?", [experiment]) if experiment else ("", [])
    if among is not None:
        where += " AND run_uuid IN (SELECT value FROM json_each(?))"
        values = [*values, json.dumps(list(among))]
    row = connection.execute(
        "SELECT run_uuid, value, step FROM metrics JOIN runs USING (run_uuid)"
        " JOIN experiments USING (experiment_id) WHERE key = ? AND is_nan = 0"
        f" AND abs(value) < ? AND runs.lifecycle_stage = 'active' {where}"
        f" ORDER BY value {order}, start_time, run_uuid, step LIMIT 1",
        [metric, LARGEST, *values],
    ).fetchone()
    return Extreme(*row) if row else None


def goals(connection: sqlite3.Connection, metric: str) -> set[str]:
    """Return the goals that trainings gave this metric."""
    rows = connection.execute(
        "SELECT DISTINCT value FROM tags WHERE key = ? AND value LIKE '% m__imize'", [PRIMARY_TAG]
    )
    found = [primary.from_tag(str(row[0])) for row in rows]
    return {known.goal for known in found if known and known.name == metric}


def metrics(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the metrics, the system's aside."""
    rows = connection.execute(
        "SELECT DISTINCT key FROM latest_metrics WHERE NOT (key >= 'system/' AND key < 'system0')"
        " ORDER BY key"
    )
    return [row[0] for row in rows]
