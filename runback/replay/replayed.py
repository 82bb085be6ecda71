"""Find the run that a replay made, among all that its process made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import NoRecord, RecordError
from runback.record import manifest
from runback.replay.original import part
from runback.runs.folder import record_of
from runback.runs.run import read
from runback.store import listing
from runback.store.readable import readable
from runback.store.tags import ATTEMPT_TAG, PARENT_TAG, SESSION_TAG

if TYPE_CHECKING:
    from pathlib import Path

    from runback.replay.attempt import Attempt
    from runback.replay.original import Original
    from runback.runs.run import Run
    from runback.store.listing import Listed


def found(original: Original, attempt: Attempt) -> Run | None:
    """Return the run that answers to the original, None if there is none.

    A process can make several, a parent and its children: the one in the same place,
    in the order in which they began.
    """
    with readable(original.root) as connection:
        known = listing.newest(connection, (listing.ACTIVE, listing.DELETED))
    made = [run for run in known if run.tags.get(ATTEMPT_TAG) == attempt.token]
    if not made:
        made = [run for run in known if _ran_in(original.root, run, attempt)]
    at = _order(known, original.run.listed)
    if at >= len(made):
        return None
    (run,) = read(original.root, [_by_start(made)[at].run_id])
    return run


def nested(original: Original, attempt: Attempt) -> list[tuple[Run, Run | None]]:
    """Return the runs below the original, each with the one of the replay in the same place."""
    with readable(original.root) as connection:
        known = listing.newest(connection, (listing.ACTIVE, listing.DELETED))
    own = _by_start(_of_session(known, original.run.listed))
    made = _by_start([run for run in known if run.tags.get(ATTEMPT_TAG) == attempt.token])
    below = _below(own, original.id)
    pairs = [(run, made[at] if at < len(made) else None) for at, run in enumerate(own)]
    return [
        (_read(original.root, run), _read(original.root, other) if other else None)
        for run, other in pairs
        if run.run_id in below
    ]


def _read(root: Path, run: Listed) -> Run:
    (found,) = read(root, [run.run_id])
    return found


def _below(runs: list[Listed], run_id: str) -> set[str]:
    """Return the runs that have this one above them; a parent begins before its children."""
    found: set[str] = set()
    for run in runs:
        if run.tags.get(PARENT_TAG) in {run_id, *found}:
            found.add(run.run_id)
    return found


def _of_session(known: list[Listed], original: Listed) -> list[Listed]:
    session = original.tags.get(SESSION_TAG)
    return [run for run in known if session and run.tags.get(SESSION_TAG) == session]


def _order(known: list[Listed], original: Listed) -> int:
    """Return how many runs of the original's process began before it."""
    ids = [run.run_id for run in _by_start(_of_session(known, original))]
    return ids.index(original.run_id) if original.run_id in ids else 0


def _by_start(runs: list[Listed]) -> list[Listed]:
    # `newest` has the later of two that began in the same millisecond first.
    return sorted(reversed(runs), key=lambda run: run.started_ms or 0)


def _ran_in(root: Path, run: Listed, attempt: Attempt) -> bool:
    """Say whether a run was recorded in this attempt's folder, by a runback that sets no tag."""
    if ATTEMPT_TAG in run.tags or (run.started_ms or 0) < attempt.began_ms:
        return False
    try:
        known = manifest.read(record_of(root, run), run.run_id)
    except (NoRecord, RecordError):
        return False
    return part(known, "code").get("root") == str(attempt.code)
