"""Find the run with the best value of a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.record.primary import MAXIMIZE
from runback.runs.errors import NoGoal, UnknownName
from runback.runs.run import Run, goal_of
from runback.store import extremes, listing
from runback.store.alive import lives
from runback.store.readable import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Winner:
    """The run, and where it was best. goal: "minimize" or "maximize"."""

    run: Run
    metric: str
    goal: str
    value: float
    step: int


def best(
    root: Path,
    metric: str,
    goal: str | None = None,
    experiment: str | None = None,
    among: Sequence[str] | None = None,
) -> Winner:
    """Return the run with the best value of the metric at any of its steps; NaN is never best.

    goal: what the runs' own primary metric or the metric's name says, if None. Of equal
    values the older run's. among: only these runs, by their ids. Raises NoGoal,
    UnknownName, StoreError.
    """
    with readable(root) as connection:
        goal = goal or _goal(extremes.goals(connection, metric), metric, connection)
        found = extremes.best(connection, metric, goal == MAXIMIZE, experiment, among)
        if found is None:
            raise _unknown(metric, connection)
        (row,) = listing.with_ids(connection, [found.run_id])
        life = lives(connection, root, [row]).get(row.run_id)
    return Winner(Run(root, row, life), metric, goal, found.value, found.step)


def _goal(declared: set[str], metric: str, connection: sqlite3.Connection) -> str:
    found = next(iter(declared)) if len(declared) == 1 else goal_of(metric)
    if metric not in extremes.metrics(connection):
        raise _unknown(metric, connection)
    if found is None:
        raise NoGoal(metric)
    return found


def _unknown(metric: str, connection: sqlite3.Connection) -> UnknownName:
    from difflib import get_close_matches

    known = extremes.metrics(connection)
    return UnknownName(metric, get_close_matches(metric, known, 5, 0.5) or known[:20])
