"""Clear away what checkpoints left that were killed: drafts, and models that nobody finishes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runback.store.places import has_shape_of, is_seen, local_path

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from runback.store.places import Places

# Folders `RUN.TOKEN` in `.runback/`.
DRAFTS = "drafts"
# A younger one may belong to a run that is about to be held.
OLD_S = 60
PENDING = 1


def sweep_drafts(root: Path, live: Collection[str]) -> None:
    """Remove the drafts of runs that nobody holds."""
    for folder in (root / ".runback" / DRAFTS).glob("*"):
        run_id = folder.name.partition(".")[0]
        if run_id not in live and time.time() - folder.lstat().st_ctime > OLD_S:
            shutil.rmtree(folder, ignore_errors=True)


def drop_pending(connection: sqlite3.Connection, places: Places, gone: Collection[str]) -> None:
    """Remove the checkpoints that were never finished of runs whose processes are gone."""
    rows = connection.execute(
        "SELECT model_id, experiment_id, artifact_location FROM logged_models WHERE status = ?"
        " AND model_type = 'checkpoint' AND source_run_id IN (SELECT value FROM json_each(?))",
        [PENDING, json.dumps(sorted(gone))],
    )
    for model_id, experiment_id, location in rows.fetchall():
        connection.execute("DELETE FROM inputs WHERE destination_id = ?", [model_id])
        for table in ("logged_model_metrics", "logged_models"):
            connection.execute(f"DELETE FROM {table} WHERE model_id = ?", [model_id])
        places.artifacts.pop(model_id, None)
        path = local_path(location) or ""
        here = places.default(experiment_id, model_id)
        folder = Path(path) if has_shape_of(path, model_id) and is_seen(path) else here
        shutil.rmtree(folder.parent, ignore_errors=True)
