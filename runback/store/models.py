"""Read the checkpoints of runs: MLflow's logged models, with their steps and metrics."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.record.primary import MAXIMIZE
from runback.store.listing import NUMBER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from runback.record.primary import PrimaryMetric

# LoggedModelStatus of MLflow: what is PENDING or FAILED has no files to rely on.
READY = 2


@dataclass(frozen=True)
class Model:
    """A logged model of a run. step: None if nobody said. created_ms: since 1970."""

    model_id: str
    run_id: str
    name: str
    kind: str
    location: str
    created_ms: int
    step: int | None
    metrics: dict[str, float] = field(default_factory=dict)


def of_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, list[Model]]:
    """Return the models of each run that are whole, by step and time."""
    wanted = json.dumps(list(run_ids))
    rows = connection.execute(
        "SELECT model_id, source_run_id, name, model_type, artifact_location,"
        " creation_timestamp_ms, (SELECT MAX(step) FROM inputs WHERE destination_id = model_id"
        " AND destination_type = 'MODEL_OUTPUT' AND source_id = source_run_id)"
        " FROM logged_models WHERE source_run_id IN (SELECT value FROM json_each(?))"
        " AND status = ? AND lifecycle_stage = 'active'",
        [wanted, READY],
    )
    found = {
        model_id: Model(model_id, run_id, name, kind or "", location, created_ms, step)
        for model_id, run_id, name, kind, location, created_ms, step in rows
    }
    _add_metrics(connection, found, wanted)
    models: dict[str, list[Model]] = {}
    for model in sorted(found.values(), key=lambda m: (m.step or 0, m.created_ms)):
        models.setdefault(model.run_id, []).append(model)
    return models


def _add_metrics(connection: sqlite3.Connection, found: dict[str, Model], wanted: str) -> None:
    # MLflow copies a NaN to the model as 0, without its mark: the run's own point has it.
    rows = connection.execute(
        f"SELECT model_id, metric_name, {NUMBER} FROM (SELECT *, metric_value AS value,"
        " EXISTS (SELECT 1 FROM metrics WHERE run_uuid = run_id AND key = metric_name"
        " AND step = metric_step AND is_nan = 1 AND timestamp = metric_timestamp_ms) AS is_nan"
        " FROM logged_model_metrics WHERE run_id IN (SELECT value FROM json_each(?))"
        " ORDER BY metric_step, rowid)",
        [wanted],
    )
    for model_id, name, value in rows:
        if model := found.get(model_id):
            model.metrics[name] = math.nan if value is None else value


def ranked(found: Sequence[Model], metric: PrimaryMetric) -> list[Model]:
    """Return the models with a finite value of the metric, the best first, equals as they come."""
    sign = -1 if metric.goal == MAXIMIZE else 1
    known = [m for m in found if math.isfinite(m.metrics.get(metric.name, math.nan))]
    return sorted(known, key=lambda model: sign * model.metrics[metric.name])


def best(found: Sequence[Model], metric: PrimaryMetric) -> Model | None:
    """Return the model with the best finite value of the metric, of equals the first."""
    return next(iter(ranked(found, metric)), None)
