"""Say what learning curves of runs consist of: which metrics, on which axes, with which points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.record.metrics import number
from runback.record.primary import MAXIMIZE, MINIMIZE
from runback.runs.errors import NoMetrics, NoSuchMetric
from runback.runs.run import goal_of
from runback.store import history
from runback.store.readable import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from runback.record.metrics import Point
    from runback.runs.run import Run

EPOCH, TIME = "epoch", "time"
# More than a picture has columns of pixels.
MOST_POINTS = 2_000
# Beyond these, the margins of an axis overflow.
LARGEST_DRAWN, _SMALLEST_LOG = 1e150, 1e-150
_PARTS = ("train", "training", "val", "valid", "validation")
_UNITS = ((2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True)
class Curve:
    """A metric of a run. x: steps, or time since the run's start. y: NaN breaks the line."""

    run: Run
    metric: str
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Panel:
    """Curves on the same axes: of a metric and what else is called that (`loss`, `val_loss`)."""

    title: str
    curves: list[Curve]

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(curve.metric for curve in self.curves))


@dataclass(frozen=True)
class Chart:
    """What is drawn. notes: sentences on what is left out. is_log: the values, not the x axis."""

    runs: list[Run]
    panels: list[Panel]
    x_label: str
    notes: list[str] = field(default_factory=list)
    is_log: bool = False


def read(
    runs: Sequence[Run],
    metrics: Sequence[str] = (),
    x: str = EPOCH,
    is_log: bool = False,
    most: int | None = MOST_POINTS,
) -> Chart:
    """Return the learning curves of runs of one store. Raises NoSuchMetric, NoMetrics, StoreError.

    metrics: all that `chosen` takes, if none is given. x: "epoch" (the step; where one was
    logged again, the last value counts) or "time" (since the run's start). most: points of
    a curve, some; beyond that of each stretch the lowest and the highest are taken.
    """
    names = _names(runs, metrics)
    reader = _Reader(x, is_log, most)
    panels: dict[str, list[Curve]] = {}
    with readable(runs[0].root) as connection:
        for name in names:
            for run in runs:
                if name in run.latest:
                    panels.setdefault(base(name), []).append(reader.curve(connection, run, name))
                else:
                    reader.note(run, f"has no {name}")
    label = "step" if x == EPOCH else _shorten_times([c for p in panels.values() for c in p])
    found = [Panel(_title(title, curves), curves) for title, curves in panels.items()]
    return Chart(list(runs), found, label, list(reader.notes), is_log)


def points(runs: Sequence[Run], metrics: Sequence[str] = ()) -> list[tuple[Run, str, list[Point]]]:
    """Return all points of the same metrics as `read` takes, as the database has them."""
    names = _names(runs, metrics)
    with readable(runs[0].root) as connection:
        return [
            (run, name, history.points(connection, run.id, name))
            for name in names
            for run in runs
            if name in run.latest
        ]


def _names(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(metrics)) or (chosen(runs) if runs else [])
    if not names:
        raise NoMetrics([run.short_id for run in runs])
    check(runs, names)
    return names


def chosen(runs: Sequence[Run]) -> list[str]:
    """Return the metrics to draw where none was asked for.

    The primary one, else a loss and a score, of those that all runs have if there are
    such; each with what else is called that (`val_loss` with `loss`).
    """
    shared = set.intersection(*(set(run.latest) for run in runs))
    names = sorted(shared or {name for run in runs for name in run.latest})
    names = [name for name in names if not name.startswith("system/")] or names
    primary = next((run.primary_metric.name for run in runs if run.primary_metric), None)
    if primary in names:
        return [primary, *(n for n in names if n != primary and base(n) == base(str(primary)))]
    bases = sorted({base(n) for n in names}, key=lambda b: (-_twins(b, names), len(b), b))
    wanted = [_first(b for b in bases if goal_of(b) == goal) for goal in (MINIMIZE, MAXIMIZE)]
    kept = [b for b in wanted if b] or bases[:1]
    return [n for b in kept for n in sorted(names, key=len, reverse=True) if base(n) == b]


def check(runs: Sequence[Run], metrics: Iterable[str]) -> None:
    """Raise NoSuchMetric for a metric that none of the runs has, NoMetrics if there are none."""
    if not runs:
        raise NoMetrics([])
    known = sorted({name for run in runs for name in run.latest})
    for name in metrics:
        if name not in known:
            raise NoSuchMetric(name, [run.short_id for run in runs], known, "metric")


def base(metric: str) -> str:
    """Return the name without the part of the data it is of: `val_loss` is a `loss`."""
    for separator in ("_", "/", "-"):
        part, found, rest = metric.partition(separator)
        if found and rest and part in _PARTS:
            return rest
    return metric


def _twins(name: str, metrics: Sequence[str]) -> int:
    return sum(base(metric) == name for metric in metrics)


def _first(names: Iterable[str]) -> str:
    return next(iter(names), "")


def _title(title: str, curves: list[Curve]) -> str:
    names = {curve.metric for curve in curves}
    return names.pop() if len(names) == 1 else title


def _shorten_times(curves: Sequence[Curve]) -> str:
    """Turn seconds into a unit that suits them all; return the label of the axis."""
    longest = max((max(curve.x, default=0.0) for curve in curves), default=0.0)
    seconds, unit = next((s, u) for least, s, u in _UNITS if longest >= least or least == 0.0)
    for curve in curves:
        curve.x[:] = [x / seconds for x in curve.x]
    return f"time ({unit})"


@dataclass
class _Reader:
    x: str
    is_log: bool
    most: int | None
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, run: Run, text: str) -> None:
        self.notes[f"{run.short_id} {text}"] = None

    def curve(self, connection: sqlite3.Connection, run: Run, metric: str) -> Curve:
        read_points = history.by_step if self.x == EPOCH else history.by_time
        points = read_points(connection, run.id, metric, self.most)
        if len(points) == 1 and history.count(connection, run.id, metric) > 1:
            self.note(run, f"has all of {metric} at one step: --x time draws it")
        y = [self._drawn(run, metric, number(p.value, p.is_nan)) for p in points]
        return Curve(run, metric, self._positions(run, points), y)

    def _positions(self, run: Run, points: Sequence[Point]) -> list[float]:
        if self.x == EPOCH:
            return [float(point.step) for point in points]
        first = points[0].timestamp if points else 0
        start = first if run.listed.started_ms is None else run.listed.started_ms
        return [(point.timestamp - start) / 1000 for point in points]

    def _drawn(self, run: Run, metric: str, value: float) -> float:
        if abs(value) > LARGEST_DRAWN:
            self.note(run, f"has infinite values of {metric}, or some beyond 1e150: left out")
            return math.nan
        if self.is_log and value < _SMALLEST_LOG:
            self.note(run, f"has values of {metric} at or below 0: not on a log scale")
            return math.nan
        return value
