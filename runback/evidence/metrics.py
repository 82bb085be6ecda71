"""Compare the metrics of two runs, point by point, as their records have them.

Points are paired by step, and several at one step in their order; the order in which
steps were logged does not count, and neither do times.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.evidence import numbers, volatile
from runback.evidence.early import Early, early_of
from runback.evidence.finding import (
    ASIDE,
    DIFFERENT,
    EXTRA,
    KILLED,
    METRICS,
    MISSING,
    NOT_AGAIN,
    SAME,
    UNKNOWN,
    WITHIN,
    Finding,
)
from runback.record import files, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runback.evidence.side import Pair, Wish

_Place = tuple[int, int]  # step, and which of the points there
Placed = dict[_Place, float]


@dataclass(frozen=True)
class Series:
    """The points of a metric, in the order in which they were logged."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def is_same(self, other: Series) -> bool:
        """Say whether all bits are the same; a NaN of a record is always the same one."""
        return (
            self.steps == other.steps
            and memoryview(self.values).cast("B") == memoryview(other.values).cast("B")
        )  # fmt: skip

    def placed(self, is_left: Callable[[int, int], bool] = lambda *_: True) -> Placed:
        """Return the values by step and place there. is_left: of a point's step and time."""
        found: Placed = {}
        seen: dict[int, int] = {}
        for step, time, value in zip(self.steps, self.times, self.values, strict=True):
            if is_left(step, time):
                nth = seen.get(step, 0)
                seen[step] = nth + 1
                found[step, nth] = value
        return found


def compare(pair: Pair) -> Iterator[Finding]:
    """Yield one finding for each metric; a second one for points that were not compared.

    Raises RecordError.
    """
    recorded, replayed = (_read(side.record) for side in (pair.recorded, pair.replayed))
    early = early_of(pair, [(s.steps, s.times) for s in recorded.values()])
    for name in sorted(recorded.keys() | replayed.keys()):
        one, other = recorded.get(name, Series()), replayed.get(name, Series())
        if reason := _aside(name, pair.wish):  # what is the same by chance is no evidence
            points = max(len(one.values), len(other.values))
            yield Finding(METRICS, name, ASIDE, count=points, detail=reason)
        elif one.is_same(other):
            yield Finding(METRICS, name, SAME, count=len(one.values))
        else:
            yield from _placed(name, one, other, early, pair.wish)


def _read(record: Path) -> dict[str, Series]:
    path = record / files.METRICS
    found: dict[str, Series] = {}
    for block in metrics.read(path) if path.exists() or path.is_symlink() else ():
        for point in block:
            series = found.get(point.key)
            if series is None:
                series = found[point.key] = Series()
            series.steps.append(point.step)
            series.times.append(point.timestamp)
            series.values.append(metrics.number(point.value, point.is_nan))
    return found


def _aside(name: str, wish: Wish) -> str:
    if glob := volatile.ignored(name, wish.ignore):
        return f"as asked: {glob}"
    return "of the machine" if name.startswith("system/") else ""


def _placed(
    name: str, one: Series, other: Series, early: Early | None, wish: Wish
) -> Iterator[Finding]:
    a, b = one.placed(), other.placed()
    if early:
        before, a, b = early.parted(one.placed(early.is_late), a, b)
        if before:
            detail = NOT_AGAIN.format(early.step)
            yield Finding(METRICS, name, UNKNOWN, count=before, detail=detail)
    yield from _compared(name, a, b, wish)


def _compared(name: str, one: Placed, other: Placed, wish: Wish) -> Iterator[Finding]:
    extra = sorted(other.keys() - one.keys())
    if extra and wish.is_partial:
        yield Finding(METRICS, name, ASIDE, count=len(extra), step=extra[0][0], detail=KILLED)
        extra = []
    missing = sorted(one.keys() - other.keys())
    both = sorted(one.keys() & other.keys())
    if both and volatile.is_timing(name):
        yield Finding(METRICS, name, ASIDE, count=len(both), detail="a timing")
        both = []
    if both or missing or extra:
        yield _finding(name, [(p[0], one[p], other[p]) for p in both], missing, extra, wish)


def _finding(
    name: str,
    both: list[tuple[int, float, float]],
    missing: list[_Place],
    extra: list[_Place],
    wish: Wish,
) -> Finding:
    differing = [point for point in both if not numbers.is_same(*point[1:])]
    far = [point for point in differing if not numbers.is_close(*point[1:], wish.tolerance)]
    step, recorded, replayed = next(iter(far or differing), (None, None, None))
    apart = [d for _, a, b in differing if (d := numbers.distance(a, b)) is not None]
    first = numbers.ulps(*(far or differing)[0][1:]) if differing else None
    if not differing and (missing or extra):
        step = (missing or extra)[0][0]
    return Finding(
        METRICS,
        name,
        _status(far, differing, missing, extra),
        count=len(both),
        step=step,
        recorded=recorded,
        replayed=replayed,
        ulps=first,
        largest=max(apart, default=None),
        differing=len(differing),
        detail=_detail(differing, missing, extra),
    )


def _status(far: object, differing: object, missing: object, extra: object) -> str:
    found = ((far, DIFFERENT), (missing, MISSING), (extra, EXTRA), (differing, WITHIN))
    return next((status for points, status in found if points), SAME)


def _detail(
    differing: list[tuple[int, float, float]], missing: list[_Place], extra: list[_Place]
) -> str:
    parts = []
    if differing and numbers.ulps(*differing[0][1:]) is None:
        parts.append("a NaN in one of them")
    parts += [f"{len(missing)} points missing"] if missing else []
    parts += [f"{len(extra)} points more"] if extra else []
    return "; ".join(parts)
