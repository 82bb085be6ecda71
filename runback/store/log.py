"""Log checkpoints with SQL, as MLflow's own store would: whole, in one transaction each.

A model is made before its files are, and not ready; it becomes ready together with
its metrics and the run's best value.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runback.errors import StoreError
from runback.record.metrics import point
from runback.store.leftovers import PENDING
from runback.store.models import READY
from runback.store.tags import BEST_TAG, PRIMARY_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runback.record.primary import PrimaryMetric

CHECKPOINT = "checkpoint"
# As long as MLflow's writers wait.
WAIT_S = 20
_MODEL = """
INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, model_type, status,
 creation_timestamp_ms, last_updated_timestamp_ms, lifecycle_stage, source_run_id)
SELECT :model, experiment_id, :name, :location, :type, :status, :now, :now, 'active', run_uuid
FROM runs WHERE run_uuid = :run
"""
_OUTPUT = """
INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)
VALUES (?, 'RUN_OUTPUT', ?, 'MODEL_OUTPUT', ?, ?)
"""
_READY = "UPDATE logged_models SET status = ?, last_updated_timestamp_ms = ? WHERE model_id = ?"
_POINT = """
INSERT OR IGNORE INTO metrics (key, value, timestamp, step, is_nan, run_uuid)
VALUES (:key, :value, :now, :step, :is_nan, :run)
"""
# The order of sqlalchemy_store._compare_metrics.
_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
VALUES (:key, :value, :now, :step, :is_nan, :run) ON CONFLICT (key, run_uuid) DO UPDATE SET
value = excluded.value, timestamp = excluded.timestamp, step = excluded.step,
is_nan = excluded.is_nan WHERE (excluded.step, excluded.timestamp, excluded.value)
> (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""
_OF_MODEL = """
INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step,
 metric_value, experiment_id, run_id)
SELECT :model, :key, :now, :step, :value, experiment_id, run_uuid FROM runs WHERE run_uuid = :run
"""
_TAG = "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)"
_BEST = """
INSERT INTO tags (key, value, run_uuid) VALUES (:key, :new, :run)
ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value WHERE CASE
 WHEN NOT json_valid(tags.value) THEN 1
 WHEN IFNULL(json_type(tags.value, '$.value'), '') NOT IN ('real', 'integer') THEN 1
 ELSE :sign * json_extract(excluded.value, '$.value')
    > :sign * json_extract(tags.value, '$.value') END
"""


class Log:
    """Writes to one run in MLflow's SQLite file. Each method raises sqlite3.Error, StoreError."""

    def __init__(self, database: Path, run_id: str) -> None:
        self.database = database
        self.run_id = run_id

    def begin(self, model_id: str, name: str, step: int, location: str) -> None:
        """Make a model that is not ready. location: of its artifacts."""
        values = {
            **{"model": model_id, "run": self.run_id, "name": name, "type": CHECKPOINT},
            **{"status": PENDING, "now": _now_ms(), "location": location},
        }
        with self._writing() as connection:
            connection.execute(_MODEL, values)
            connection.execute(_OUTPUT, [uuid.uuid4().hex, self.run_id, model_id, step])

    def log(
        self,
        step: int,
        metrics: Mapping[str, float],
        primary: PrimaryMetric | None,
        model_id: str | None = None,
    ) -> None:
        """Log metrics, and the best value if this is it; a model is ready from then on."""
        now_ms = _now_ms()
        fixed = {"now": now_ms, "step": step, "run": self.run_id, "model": model_id}
        points = [point(key, value, now_ms, step) for key, value in metrics.items()]
        rows = [{**fixed, "key": p.key, "value": p.value, "is_nan": p.is_nan} for p in points]
        with self._writing() as connection:
            connection.executemany(_POINT, rows)
            connection.executemany(_LATEST, rows)
            if model_id:
                connection.executemany(_OF_MODEL, rows)
                connection.execute(_READY, [READY, now_ms, model_id])
            if best := best_of(step, metrics, primary, model_id):
                sign = -1 if primary and primary.goal == "minimize" else 1
                new = json.dumps(best, allow_nan=False)
                values = {"key": BEST_TAG, "new": new, "run": self.run_id, "sign": sign}
                connection.execute(_BEST, values)

    def name_primary(self, primary: PrimaryMetric) -> None:
        with self._writing() as connection:
            connection.execute(_TAG, [PRIMARY_TAG, str(primary), self.run_id])

    def drop(self, model_id: str) -> bool:
        """Take back a model unless it is ready; say whether it is gone."""
        sql = "DELETE FROM logged_models WHERE model_id = ? AND status = ?"
        with self._writing() as connection:
            is_gone = connection.execute(sql, [model_id, PENDING]).rowcount > 0
            if is_gone:
                connection.execute("DELETE FROM inputs WHERE destination_id = ?", [model_id])
        return is_gone

    def last_step(self) -> int | None:
        """Return the greatest step of the run's metrics and models, without the system's."""
        sql = (
            "SELECT MAX(step) FROM (SELECT step FROM latest_metrics"
            " WHERE run_uuid = ? AND key NOT LIKE 'system/%' UNION ALL"
            " SELECT step FROM inputs WHERE source_id = ? AND destination_type = 'MODEL_OUTPUT')"
        )
        with self._writing() as connection:
            row = connection.execute(sql, [self.run_id, self.run_id]).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction on a run that is there, and not deleted."""
        uri = f"{self.database.absolute().as_uri()}?mode=rw"  # else one that was moved is made
        connection = sqlite3.connect(uri, uri=True, timeout=WAIT_S, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(
                "SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", [self.run_id]
            ).fetchone()
            if row != ("active",):
                state = "deleted" if row else "gone"
                raise StoreError(f"run {self.run_id[:8]} is {state}: {self.database}")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # rolls back what was not committed


def best_of(
    step: int, metrics: Mapping[str, float], primary: PrimaryMetric | None, model_id: str | None
) -> dict[str, Any] | None:
    """Return what the tag says if this is the best value. NaN never is, nor an infinity."""
    value = metrics.get(primary.name, math.nan) if primary else math.nan
    if not math.isfinite(value):
        return None
    return {"value": value, "step": step, "model_id": model_id}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
