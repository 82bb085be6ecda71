"""Keep the best value of a run, whoever of its processes logs it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from runback.store.tags import BEST_TAG

if TYPE_CHECKING:
    from pathlib import Path

# As long as MLflow's writers wait.
WAIT_S = 20
_KEEP = """
INSERT INTO tags (key, value, run_uuid) VALUES (:key, :new, :run)
ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value WHERE CASE
 WHEN NOT json_valid(tags.value) THEN 1
 WHEN IFNULL(json_type(tags.value, '$.value'), '') NOT IN ('real', 'integer') THEN 1
 ELSE :sign * json_extract(excluded.value, '$.value')
    > :sign * json_extract(tags.value, '$.value') END
"""


def keep_best(database: Path, run_id: str, best: dict[str, Any], goal: str) -> None:
    """Set the tag of the run if `best["value"]` is better than what it says, in one statement.

    goal: "minimize" or "maximize". Raises sqlite3.Error.
    """
    values = {
        "key": BEST_TAG,
        "new": json.dumps(best, allow_nan=False),
        "run": run_id,
        "sign": -1 if goal == "minimize" else 1,
    }
    connection = sqlite3.connect(database, timeout=WAIT_S, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute(_KEEP, values)


def last_step(database: Path, run_id: str) -> int | None:
    """Return the greatest step at which the run has a metric, without the system's; else None.

    Raises sqlite3.Error.
    """
    sql = "SELECT MAX(step) FROM latest_metrics WHERE run_uuid = ? AND key NOT LIKE 'system/%'"
    connection = sqlite3.connect(database, timeout=WAIT_S)
    with contextlib.closing(connection):
        row = connection.execute(sql, [run_id]).fetchone()
    return None if row is None else row[0]
