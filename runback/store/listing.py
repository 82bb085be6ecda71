"""Read runs as MLflow's tables have them: fields, params, tags and the latest metrics.

In one pass over each table, whatever the number of metric points.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.record.metrics import LARGEST

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

ACTIVE, DELETED = "active", "deleted"
# What was logged: MLflow stores NaN as 0 with a mark, infinities as the largest doubles.
# SQLite knows no NaN: that is NULL here.
NUMBER = (
    f"CASE WHEN is_nan THEN NULL WHEN value >= {LARGEST!r} THEN 9e999"
    f" WHEN value <= -{LARGEST!r} THEN -9e999 ELSE value END"
)
_RUNS = """
SELECT runs.run_uuid, runs.name, experiments.name, status, start_time, end_time, user_id,
 runs.lifecycle_stage, artifact_uri
FROM runs JOIN experiments USING (experiment_id)
"""


@dataclass(frozen=True)
class Listed:
    """A run. started_ms, ended_ms: since 1970, None if not known. user: "" if not known.

    latest: the last value of each metric, NaN and infinities as floats.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started_ms: int | None
    ended_ms: int | None
    user: str
    stage: str
    artifact_uri: str
    params: dict[str, str] = field(default_factory=dict)
    latest: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def newest(
    connection: sqlite3.Connection,
    stages: Sequence[str] = (ACTIVE,),
    experiment: str | None = None,
    limit: int | None = None,
) -> list[Listed]:
    """Return the runs, newest first, without the system's metrics.

    stages: ACTIVE, DELETED or both. experiment: its name; all of them without.
    """
    where, values = _condition(stages, experiment)
    where += " ORDER BY start_time DESC, runs.rowid DESC LIMIT ?"
    found = _runs(connection, where, [*values, -1 if limit is None else limit])
    _fill(connection, found, everything=limit is None and experiment is None)
    return list(found.values())


def with_ids(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[Listed]:
    """Return these runs, in this order, deleted ones too; those that are gone are left out."""
    where = "WHERE run_uuid IN (SELECT value FROM json_each(?))"
    found = _runs(connection, where, [json.dumps(list(run_ids))])
    _fill(connection, found, everything=False, system=True)
    return [found[run_id] for run_id in run_ids if run_id in found]


def experiments(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the experiments that have runs."""
    sql = "SELECT name FROM experiments WHERE experiment_id IN (SELECT experiment_id FROM runs)"
    return [row[0] for row in connection.execute(sql + " ORDER BY name")]


def _runs(
    connection: sqlite3.Connection, where: str, values: Sequence[object]
) -> dict[str, Listed]:
    rows = connection.execute(_RUNS + where, values)
    return {
        run_id: Listed(
            *(run_id, name or "", experiment, status or "", started, ended),
            *(user or "", stage or ACTIVE, uri or ""),
        )
        for run_id, name, experiment, status, started, ended, user, stage, uri in rows
    }


def _fill(
    connection: sqlite3.Connection, found: dict[str, Listed], everything: bool, system: bool = False
) -> None:
    """Add params, tags and metrics. everything: reading whole tables is faster than by run."""
    values: list[object] = []
    where = "WHERE 1"
    if not everything:
        where = "WHERE run_uuid IN (SELECT value FROM json_each(?))"
        values = [json.dumps(list(found))]
    for table in ("params", "tags"):
        kept = {run_id: getattr(run, table) for run_id, run in found.items()}
        rows = connection.execute(f"SELECT run_uuid, key, value FROM {table} {where}", values)
        for run_id, key, value in rows:
            if run_id in kept:
                kept[run_id][key] = value
    if not system:
        where += " AND NOT (key >= 'system/' AND key < 'system0')"
    latest = {run_id: run.latest for run_id, run in found.items()}
    sql = f"SELECT run_uuid, key, {NUMBER} FROM latest_metrics {where}"
    for run_id, key, value in connection.execute(sql, values):
        if run_id in latest:
            latest[run_id][key] = math.nan if value is None else value


def count(connection: sqlite3.Connection, stages: Sequence[str], experiment: str | None) -> int:
    """Return how many runs there are."""
    where, values = _condition(stages, experiment)
    sql = f"SELECT COUNT(*) FROM runs JOIN experiments USING (experiment_id) {where}"
    return int(connection.execute(sql, values).fetchone()[0])


def _condition(stages: Sequence[str], experiment: str | None) -> tuple[str, list[object]]:
    where = f"WHERE runs.lifecycle_stage IN ({', '.join('?' for _ in stages)})"
    if experiment is None:
        return where, [*stages]
    return f"{where} AND experiments.name = ?", [*stages, experiment]


def unended(connection: sqlite3.Connection) -> list[Listed]:
    """Return the runs whose status is RUNNING, newest first, without the system's metrics."""
    where = (
        "WHERE status = 'RUNNING' AND runs.lifecycle_stage = 'active'"
        " ORDER BY start_time DESC, runs.rowid DESC"
    )
    found = _runs(connection, where, [])
    _fill(connection, found, everything=False)
    return list(found.values())


def last_steps(connection: sqlite3.Connection, runs: Sequence[Listed]) -> dict[str, int]:
    """Return the greatest step at which each run logged, the system's metrics aside."""
    rows = connection.execute(
        "SELECT run_uuid, MAX(step) FROM latest_metrics WHERE NOT (key >= 'system/'"
        " AND key < 'system0') AND run_uuid IN (SELECT value FROM json_each(?)) GROUP BY run_uuid",
        [json.dumps([run.run_id for run in runs])],
    )
    return dict(rows.fetchall())
