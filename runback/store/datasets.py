"""Read which data sets MLflow was told that runs used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


def of_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return by run the digest of each data set, by name; of several with one name, all."""
    rows = connection.execute(
        "SELECT DISTINCT destination_id, name, digest FROM inputs"
        " JOIN datasets ON dataset_uuid = source_id WHERE source_type = 'DATASET'"
        " AND destination_type = 'RUN' AND destination_id IN (SELECT value FROM json_each(?))"
        " ORDER BY name, digest",
        [json.dumps(list(run_ids))],
    )
    found: dict[str, dict[str, str]] = {}
    for run_id, name, digest in rows:
        known = found.setdefault(run_id, {})
        known[name] = f"{known[name]}, {digest}" if name in known else digest
    return found
