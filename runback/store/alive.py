"""Say of runs that are RUNNING whether they are: their process may be gone, or elsewhere."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from runback.store.tags import SESSION_TAG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from pathlib import Path

    from runback.store.listing import Listed


class Life(Enum):
    """HERE: recorded by a process of this machine. AWAY: by another store, as far as copied.

    LOST: its process is gone. UNKNOWN: nobody can tell; perhaps nobody records it.
    """

    HERE = "here"
    AWAY = "away"
    LOST = "lost"
    UNKNOWN = "unknown"


def lives(connection: sqlite3.Connection, root: Path, runs: Iterable[Listed]) -> dict[str, Life]:
    """Return what is known of each of the runs whose status is RUNNING."""
    unended = [run for run in runs if run.status == "RUNNING"]
    if not unended:
        return {}
    owners = _owners(connection)
    return {run.run_id: _life(root, run, owners.get(run.run_id, "")) for run in unended}


def _life(root: Path, run: Listed, owner: str) -> Life:
    from runback.store import running  # what it imports is a tenth of `runback ls`
    from runback.store.identity import known_id

    names = [run.run_id]
    if session := run.tags.get(SESSION_TAG):
        names.append(running.SESSION + session)
    try:
        known = [name for name in names if running.is_known(root, name)]
        if any(running.is_held(root, name) for name in known):
            return Life.HERE
    except PermissionError:  # another user's
        return Life.UNKNOWN
    if known:
        return Life.LOST
    return Life.AWAY if owner not in ("", known_id(root)) else Life.UNKNOWN


def _owners(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the store that records each run, as the last index saw it."""
    from runback.store.schema import has_table

    if not has_table(connection, "runback_runs"):
        return {}
    return dict(connection.execute("SELECT run_uuid, owner FROM runback_runs").fetchall())
