"""Say what a scatter plot of runs consists of: a param of each against a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.runs.curves import LARGEST_DRAWN, check
from runback.runs.errors import NoSuchMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.runs.run import Run


@dataclass(frozen=True)
class Dot:
    """A run. x: the param's value, or the position of its category."""

    run: Run
    x: float
    y: float


@dataclass(frozen=True)
class Cloud:
    """What is drawn. categories: the param's values, where they are not all numbers."""

    param: str
    metric: str
    dots: list[Dot]
    categories: list[str]
    notes: list[str] = field(default_factory=list)
    is_log: bool = False


def read(runs: Sequence[Run], param: str, metric: str, is_log: bool = False) -> Cloud:
    """Return the runs that have both. Raises NoSuchMetric for what none of them has.

    The value of a metric is the best one where it is the run's primary metric, else the
    latest. A param whose values are not all numbers is one of categories. is_log: of x.
    """
    check(runs, [metric])
    known = sorted({name for run in runs for name in run.params})
    if param not in known:
        raise NoSuchMetric(param, [run.short_id for run in runs], known, "param")
    drawn = [r for r in runs if param in r.params and abs(value(r, metric)) < LARGEST_DRAWN]
    numbers = [_number(run.params[param]) for run in drawn]
    categories: list[str] = []
    if None in numbers:
        categories = sorted({run.params[param] for run in drawn})
        numbers = [float(categories.index(run.params[param])) for run in drawn]
    on_log = is_log and not categories
    dots = [
        Dot(run, number, value(run, metric))
        for run, number in zip(drawn, numbers, strict=True)
        if number is not None and (number > 0 or not on_log)
    ]
    missing = len(runs) - len(dots)
    why = f"no {param} or no finite {metric}" + (f", or {param} not above 0" if on_log else "")
    notes = [f"{missing} of {len(runs)} runs left out: {why}"] if missing else []
    return Cloud(param, metric, dots, categories, notes, on_log)


def value(run: Run, metric: str) -> float:
    """Return the best value if the metric is the run's primary one, else the latest, else NaN."""
    if run.best is not None and run.best.metric == metric:
        return run.best.value
    return run.latest.get(metric, math.nan)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
