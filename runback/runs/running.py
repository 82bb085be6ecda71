"""Say which runs go on, where, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.errors import RunbackError
from runback.record import manifest
from runback.runs.folder import record_of
from runback.runs.progress import Progress, progress
from runback.runs.run import Run
from runback.store import listing
from runback.store.alive import Life, lives
from runback.store.readable import readable

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A run that goes on, or whose process is gone. host: "" and pid: None if not known."""

    run: Run
    life: Life
    host: str
    pid: int | None
    progress: Progress


def running(root: Path) -> list[Process]:
    """Return the runs that nobody ended, newest first. Raises StoreError."""
    with readable(root) as connection:
        rows = listing.unended(connection)
        found, steps = lives(connection, root, rows), listing.last_steps(connection, rows)
    return [_process(Run(root, row, found[row.run_id]), steps.get(row.run_id)) for row in rows]


def _process(run: Run, last_step: int | None) -> Process:
    assert run.life is not None
    known = _recorded(run)
    host, pid = known.get("host"), known.get("pid")
    how_far = progress(run, last_step)
    if run.life in (Life.LOST, Life.AWAY):
        how_far = Progress(how_far.done, how_far.total, how_far.elapsed_s, None)
    return Process(
        *(run, run.life),
        host if isinstance(host, str) else "",
        pid if isinstance(pid, int) else None,
        how_far,
    )


def _recorded(run: Run) -> dict[str, Any]:
    """Return what the run's manifest says of its process."""
    try:
        found = manifest.read(record_of(run.root, run.listed), run.id).get("process")
    except RunbackError:
        return {}
    return found if isinstance(found, dict) else {}
