"""Find the run that a person means: by id, the beginning of one, name, @latest or @best.

Of a DVC experiment by that one's name or commit too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import AmbiguousRun, NoBest, NoRecord, NoRuns, NoStore, NoSuchRun, StoreError
from runback.store.places import scan
from runback.store.readable import readable
from runback.store.tags import BEST_TAG, PRIMARY_TAG, REPLAY_OF_TAG

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from runback.store.places import Places

LATEST, BEST = "@latest", "@best"


def find_id(root: Path, text: str) -> str:
    """Return the id of the run. Raises NoSuchRun, AmbiguousRun, NoBest, StoreError."""
    with readable(root) as connection:
        if text == LATEST:
            return _latest(connection, root)
        if text == BEST:
            return _best(connection, root)
        found = _candidates(connection, text)
        if text and text not in found and list(found.values()) != [text]:
            found = _with_experiment(connection, root, text, found)
        if not found:
            raise NoSuchRun(text, root, _count(connection), _close(connection, text))
        return _one(text, found, root, 0)


def _with_experiment(
    connection: sqlite3.Connection, root: Path, text: str, found: dict[str, str]
) -> dict[str, str]:
    """Return the run of the DVC experiment that the text names, and those whose id begins so."""
    from runback.store.dvc import runs_named  # it asks git

    named = runs_named(connection, root, text)
    by_id = {run: name for run, name in found.items() if run.startswith(text.lower())}
    return {**by_id, **named} if named else found


def _close(connection: sqlite3.Connection, text: str) -> list[str]:
    """Return names that are nearly this one."""
    from difflib import get_close_matches

    rows = connection.execute("SELECT DISTINCT name FROM runs WHERE name IS NOT NULL LIMIT 10000")
    return get_close_matches(text, [LATEST, BEST, *(str(row[0]) for row in rows)], 3, 0.7)


def names(root: Path, stage: str = "active", most: int = 1_000) -> list[tuple[str, str]]:
    """Return ids and names of the newest runs; stage: "active" or "deleted". Raises StoreError."""
    with readable(root) as connection:
        rows = connection.execute(
            "SELECT run_uuid, COALESCE(name, '') FROM runs WHERE lifecycle_stage = ?"
            " ORDER BY start_time DESC, rowid DESC LIMIT ?",
            [stage, most],
        )
        return list(rows.fetchall())


def find(root: Path, text: str) -> tuple[Places, str]:
    """Return where the runs' files are, and the run's id. Raises as find_id does, and NoRecord.

    Folders are looked at too: a damaged record may not be in the database.
    """
    places = scan(root / "mlruns")
    try:
        run_id = find_id(root, text)
    except (NoSuchRun, NoStore) as error:
        beginning = text.lower()
        found = {run: "" for run in places.stamps if beginning and run.startswith(beginning)}
        if not found and isinstance(error, NoSuchRun):
            raise
        run_id = _one(text, found, root, len(places.stamps))
    except StoreError:
        if text not in places.stamps:
            raise
        run_id = text
    if run_id not in places.artifacts:
        raise NoRecord(run_id, places.mlruns)
    return places, run_id


def _one(text: str, found: dict[str, str], root: Path, known: int) -> str:
    if not found:
        raise NoSuchRun(text, root, known)
    if len(found) > 1:
        raise AmbiguousRun(text, [f"{run[:12]}  {name}" for run, name in sorted(found.items())])
    return next(iter(found))


def _candidates(connection: sqlite3.Connection, text: str) -> dict[str, str]:
    """Return the runs whose id begins so, or whose name is this; a whole id is one run."""
    if not text:
        return {}
    beginning = text.lower()
    rows = connection.execute(
        "SELECT run_uuid, name, CASE WHEN run_uuid LIKE ? || '%' THEN 2"
        " WHEN lifecycle_stage = 'deleted' THEN 0 ELSE 2 - EXISTS (SELECT 1 FROM tags"
        " WHERE tags.run_uuid = runs.run_uuid AND tags.key = ?) END AS counts"
        " FROM runs WHERE (run_uuid >= ? AND run_uuid < ?) OR name = ? ORDER BY counts DESC",
        [beginning, REPLAY_OF_TAG, beginning, beginning + "g", text],
    ).fetchall()
    # A replay has the name of its original, which is meant; a deleted run's name counts
    # where no other has it.
    found = {run_id: name or "" for run_id, name, counts in rows if counts == rows[0][2]}
    return {beginning: found[beginning]} if beginning in found else found


def _latest(connection: sqlite3.Connection, root: Path) -> str:
    row = connection.execute(
        "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'"
        " ORDER BY EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = ?),"
        " start_time DESC, rowid DESC LIMIT 1",
        [REPLAY_OF_TAG],
    ).fetchone()
    if row is None:
        raise NoRuns(root)
    return str(row[0])


def _best(connection: sqlite3.Connection, root: Path) -> str:
    """Return the run with the best value of the metric that the newest run names as its primary."""
    rows = connection.execute(
        "SELECT run_uuid, primaries.value, json_extract(bests.value, '$.value') FROM runs"
        " JOIN tags AS primaries USING (run_uuid) JOIN tags AS bests USING (run_uuid)"
        " WHERE lifecycle_stage = 'active' AND primaries.key = ? AND bests.key = ?"
        " AND json_valid(bests.value) ORDER BY start_time DESC, runs.rowid DESC",
        [PRIMARY_TAG, BEST_TAG],
    ).fetchall()
    found = [
        (value, run)
        for run, primary, value in rows
        if primary == rows[0][1] and isinstance(value, int | float)
    ]
    if not found:
        raise NoBest(root)
    best = min if rows[0][1].endswith(" minimize") else max
    return str(best(found, key=lambda entry: entry[0])[1])


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
