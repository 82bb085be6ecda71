"""Read runs as MLflow's tables have them: fields, params, tags and the latest metrics.

In one pass over each table, whatever the number of metric points.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from runback.record.metrics import LARGEST

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

ACTIVE, DELETED = "active", "deleted"
_RUNS = """
SELECT runs.run_uuid, runs.name, experiments.name, status, start_time, end_time, user_id,
 runs.lifecycle_stage, artifact_uri
FROM runs JOIN experiments USING (experiment_id)
"""


class Latest(NamedTuple):
    """The latest value of a metric (NaN and infinities as floats), and its step."""

    value: float
    step: int


@dataclass(frozen=True)
class Listed:
    """A run. started_ms, ended_ms: since 1970, None if not known. user: "" if not known."""

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
    latest: dict[str, Latest] = field(default_factory=dict)
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
    where = f"WHERE runs.lifecycle_stage IN ({_marks(stages)})"
    values: list[object] = [*stages]
    if experiment is not None:
        where += " AND experiments.name = ?"
        values.append(experiment)
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
        rows = connection.execute(f"SELECT run_uuid, key, value FROM {table} {where}", values)
        for run_id, key, value in rows:
            if run := found.get(run_id):
                (run.params if table == "params" else run.tags)[key] = value
    if not system:
        where += " AND key NOT LIKE 'system/%'"
    sql = f"SELECT run_uuid, key, value, is_nan, step FROM latest_metrics {where}"
    for run_id, key, value, is_nan, step in connection.execute(sql, values):
        if run := found.get(run_id):
            run.latest[key] = Latest(number(value, is_nan), step)


def number(value: float, is_nan: object) -> float:
    """Return what was logged: MLflow stores NaN as 0 with a mark, infinities as largest doubles."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
