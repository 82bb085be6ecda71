"""Replay many runs, one after the other: which, and what came of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.replay.verdict import IDENTICAL, NOT_COMPARABLE, WITHIN_TOLERANCE
from runback.runs.listing import Wish, select
from runback.store.tags import PARENT_TAG, SESSION_TAG

if TYPE_CHECKING:
    from pathlib import Path

    from runback.replay.judge import Replay
    from runback.replay.plan import Plan
    from runback.runs.run import Run


@dataclass(frozen=True)
class Outcome:
    """What came of a run. why: in words. error: it could not be replayed. replayed: the new run."""

    run: Run
    verdict: str
    why: str = ""
    replayed: str = ""
    training_s: float | None = None
    error: bool = False

    @property
    def is_good(self) -> bool:
        return self.verdict in (IDENTICAL, WITHIN_TOLERANCE)

    @classmethod
    def of(cls, run: Run, plan: Plan, done: Replay | None) -> Outcome:
        """Return the outcome of a replay; None where bits cannot agree here, so none was made."""
        if done is None:
            return cls(run, NOT_COMPARABLE, plan.why_not)
        return cls(run, done.verdict, done.why, done.run.id, done.training_s)


def candidates(root: Path, experiment: str | None) -> list[Run]:
    """Return the runs that are FINISHED and no replays, oldest first.

    A nested run is made again with its parent, and judged with it.
    """
    found = select(root, Wish(experiment=experiment, replays=False)).runs
    ended = [run for run in reversed(found) if run.status == "FINISHED"]
    return [run for run in ended if PARENT_TAG not in run.tags and SESSION_TAG in run.tags]
