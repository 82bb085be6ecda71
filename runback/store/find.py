"""Find the run that a person means: by id, the beginning of one, or name."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from runback.errors import AmbiguousRun, NoRecord, NoSuchRun
from runback.store.export import reading
from runback.store.places import scan

if TYPE_CHECKING:
    from pathlib import Path

    from runback.store.places import Places


def find(root: Path, text: str) -> tuple[Places, str]:
    """Return where the runs' files are, and the run's id. Raises NoSuchRun, AmbiguousRun, NoRecord.

    Folders are looked at too: a damaged record may not be in the database.
    """
    places = scan(root / "mlruns")
    names = _names(root / "mlflow.db")
    ids = names.keys() | places.stamps.keys()
    found = sorted(
        run_id for run_id in ids if run_id.startswith(text.lower()) or names.get(run_id) == text
    )
    if not text or not found:
        raise NoSuchRun(text, root, len(ids))
    if len(found) > 1:
        raise AmbiguousRun(text, [f"{run_id[:12]}  {names.get(run_id) or ''}" for run_id in found])
    if found[0] not in places.artifacts:
        raise NoRecord(found[0], places.mlruns)
    return places, found[0]


def _names(database: Path) -> dict[str, str | None]:
    if not database.exists():
        return {}
    try:
        with reading(database) as connection:
            return dict(connection.execute("SELECT run_uuid, name FROM runs").fetchall())
    except sqlite3.Error:
        return {}  # the folders remain
