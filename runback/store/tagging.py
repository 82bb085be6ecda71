"""Set tags of a run in the database; an index puts them beside the record, to travel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.store.schema import opened
from runback.store.writable import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def set_tags(root: Path, run_id: str, tags: Mapping[str, str]) -> None:
    """Give a run these tags, in place of those it has of the same names. Raises StoreError."""
    rows = [(run_id, key, value) for key, value in tags.items()]
    with opened(root / "mlflow.db") as connection, transaction(connection):
        sql = "INSERT OR REPLACE INTO tags (run_uuid, key, value) VALUES (?, ?, ?)"
        connection.executemany(sql, rows)
