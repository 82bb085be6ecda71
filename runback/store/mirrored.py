"""Let the store that mirrors a server follow it where records cannot: what is gone, or renamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runback.store.remove import delete_models, purge
from runback.store.writable import transaction, writable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping
    from pathlib import Path


def follow(
    root: Path, experiments: Mapping[int, str], runs: Collection[str], models: Collection[str]
) -> None:
    """Remove what is not among these, and call experiments as the server does.

    experiments: names by id. Unlike what a person removes for good, a run that is there
    again later is listed again: perhaps it was not to be seen for a while. Raises StoreError.
    """
    with writable(root) as memory, transaction(memory.connection):
        _rename(memory.connection, experiments)
        for model_id, run_id in memory.connection.execute(
            "SELECT model_id, source_run_id FROM logged_models"
        ).fetchall():
            if model_id not in models:
                delete_models(memory.connection, run_id, [model_id])
        known = memory.connection.execute("SELECT run_uuid FROM runs").fetchall()
    gone = sorted({run_id for (run_id,) in known}.difference(runs))
    if gone:
        purge(root, gone, force=True)
        with writable(root) as memory:
            memory.connection.execute(
                "DELETE FROM runback_runs WHERE run_uuid IN (SELECT value FROM json_each(?))",
                [json.dumps(gone)],
            )


def _rename(connection: sqlite3.Connection, names: Mapping[int, str]) -> None:
    rows = connection.execute("SELECT experiment_id, name FROM experiments").fetchall()
    changed = [(names[key], key) for key, name in rows if key in names and names[key] != name]
    # Names are unique, and two may have changed places.
    away = [(f"{key} is renamed", key) for _, key in changed]
    connection.executemany("UPDATE experiments SET name = ? WHERE experiment_id = ?", away)
    connection.executemany("UPDATE experiments SET name = ? WHERE experiment_id = ?", changed)
