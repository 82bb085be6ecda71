"""Which points of a metric a replay that began after a step does not log again.

A point says its step and its time. One of an early step that was logged after the
checkpoint, when the training had gone on, is none of the past: MLflow calls the step of
a last test's metric 0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.evidence import checkpoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.evidence.side import Pair

Placed = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Early:
    """step: the replay began after it. until_ms: since then the original did what it replays."""

    step: int
    until_ms: int

    def is_late(self, step: int, time_ms: int) -> bool:
        return step > self.step or time_ms > self.until_ms

    def parted(self, late: Placed, one: Placed, other: Placed) -> tuple[int, Placed, Placed]:
        """Return how many points are not run again, and the others of both, to be compared.

        late: the points of the original that are not early. At a step where the replay
        has as many points as the original it ran them again, and all are compared.
        """
        counts = [Counter(step for step, _ in placed) for placed in (late, one, other)]
        before = 0
        for step in (s for s in counts[1] if s <= self.step and counts[1][s] != counts[2][s]):
            early = counts[1][step] - counts[0][step]
            # Of the replay's, those that were logged last: the late ones, and what is too many.
            left = max(counts[0][step], counts[2][step] - early)
            one = _last(one, step, counts[1][step], counts[0][step])
            other = _last(other, step, counts[2][step], left)
            before += early
        return before, one, other


def early_of(pair: Pair, series: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Early | None:
    """Return what is early, None in a replay from the beginning.

    series: the steps and the times, in ms, of the points of each metric.
    """
    step = pair.wish.from_step
    if step is None:
        return None
    points = [point for both in series for point in zip(*both, strict=True)]
    kept_ms = checkpoints.kept_ms(pair.recorded.run_id, pair.rows[0], step)
    if kept_ms is None:
        return Early(step, max((ms for _, ms in points), default=0))
    # What an epoch logs behind its checkpoint is early: it ends where the next one logs.
    after = [ms for at, ms in points if at > step and ms > kept_ms]
    last = max((ms for at, ms in points if at == step), default=kept_ms)
    return Early(step, min(after) if after else max(kept_ms, last))


def _last(placed: Placed, step: int, count: int, left: int) -> Placed:
    """Return the points with only the `left` last of `count` at a step, counted from 0."""
    gone = max(0, count - left)
    return {
        (at, nth - gone if at == step else nth): value
        for (at, nth), value in placed.items()
        if at != step or nth >= gone
    }
