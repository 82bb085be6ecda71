"""Filter and sort runs by what is known of them: `val_accuracy > 0.9`, `status = FAILED`.

A name is a field of the run, a metric (its latest value) or a param; `metrics.NAME`,
`params.NAME`, `tags.NAME` and `best` (of the primary metric) say which. Values that
are both numbers are compared as numbers, times as times, all else as text.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runback.runs.errors import FilterError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runback.runs.run import Run

    Value = str | float | datetime

_COMPARISON = re.compile(r"\s*(.+?)\s*(!=|<=|>=|==|=|<|>)\s*(.+?)\s*", re.DOTALL)
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED", "LOST")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FIELDS: dict[str, Callable[[Run], Value | None]] = {
    "id": lambda run: run.id,
    "name": lambda run: run.name,
    "experiment": lambda run: run.experiment,
    "status": lambda run: run.status,
    "user": lambda run: run.listed.user,
    "started": lambda run: run.started,
    "ended": lambda run: run.ended,
    "duration_s": lambda run: run.duration_s,
    "best": lambda run: run.best.value if run.best else None,
}
_AGO = re.compile(r"(\d+)\s*(s|min|h|d|w)(?: ago)?")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Filter:
    """A condition: name, operator, and the value as it was written."""

    name: str
    comparison: str
    value: str

    def holds(self, run: Run) -> bool:
        """Say whether it holds of the run; what a run does not have is unlike every value."""
        found = value_of(run, self.name)
        if found is None:
            return self.comparison == "!="
        left, right = self._alike(found)
        if isinstance(left, str) != isinstance(right, str):  # a text is not more than a number
            return self.comparison == "!="
        return _OPERATORS[self.comparison](left, right)

    def _alike(self, found: Value) -> tuple[object, object]:
        """Return both sides as what they can be compared as. Raises FilterError."""
        if isinstance(found, datetime):
            return found, _time(self.value)
        left, right = _number(found), _number(self.value)
        if right is None and left is not None and (isinstance(found, float) or self._orders):
            rule = f"{self.name} is a number; several conditions are several --filter"
            raise FilterError(f"{self.name} {self.comparison} {self.value}", rule)
        if self._orders and right is not None:
            return str(found) if left is None else left, right
        if left is not None and right is not None:
            return left, right
        return str(found).casefold(), self.value.casefold()

    @property
    def _orders(self) -> bool:
        return self.comparison[0] in "<>"


def parse(text: str) -> Filter:
    """Return the condition that a text states. Raises FilterError."""
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise FilterError(text, "a condition is NAME, one of = != < <= > >=, VALUE")
    found = Filter(match[1], match[2], _unquoted(match[3]))
    if found.name in ("started", "ended"):
        _time(found.value)
    if found.name == "status" and found.value.upper() not in _STATUSES:
        raise FilterError(text, f"a status is one of {' '.join(_STATUSES)}", "status = FAILED")
    return found


def selected(runs: Iterable[Run], filters: Sequence[Filter]) -> list[Run]:
    """Return the runs of which all conditions hold. Raises UnknownName for what no run has."""
    every = list(runs)
    check_names(every, [condition.name for condition in filters])
    return [run for run in every if all(condition.holds(run) for condition in filters)]


def ordered(runs: Sequence[Run], name: str, descending: bool = False) -> list[Run]:
    """Return the runs by this value, numbers before texts, those without it last."""
    values = {run.id: value_of(run, name) for run in runs}
    present = [run for run in runs if not _is_missing(values[run.id])]
    absent = [run for run in runs if _is_missing(values[run.id])]
    return sorted(present, key=lambda run: _rank(values[run.id]), reverse=descending) + absent


def check_names(runs: Sequence[Run], wanted: Sequence[str]) -> None:
    """Raise UnknownName for a name that is no field, and no metric or param of any run."""
    from difflib import get_close_matches

    for name in wanted:
        if (
            runs
            and name not in _FIELDS
            and not any(value_of(run, name) is not None for run in runs)
        ):
            known = sorted({*_FIELDS, *(key for run in runs for key in (*run.latest, *run.params))})
            raise UnknownName(name, get_close_matches(name, known, 5, 0.5) or known[:20])


def value_of(run: Run, name: str) -> Value | None:
    """Return what a run has by this name, None if it has nothing."""
    if name in _FIELDS:
        return _FIELDS[name](run)
    kind, _, key = name.partition(".")
    if kind == "tags":
        return run.tags.get(key)
    if kind in ("metrics", "params") and name not in run.latest and name not in run.params:
        name = key
    if kind != "params" and name in run.latest:
        return run.latest[name]
    return None if kind == "metrics" else run.params.get(name)


def _number(value: Value) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None


def _is_missing(value: Value | None) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _rank(value: Value | None) -> tuple[bool, float, str]:
    if isinstance(value, datetime):
        return (False, value.timestamp(), "")
    number = None if value is None else _number(value)
    if number is None or math.isnan(number):
        return (True, 0.0, str(value).casefold())
    return (False, number, "")


def _time(text: str) -> datetime:
    """Return a time: ISO 8601, in local time if it names no zone, or `2d`, so long ago."""
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        rule = "a time is 2026-11-21, 2026-11-21T13:30 or 2d (ago)"
        raise FilterError(text, rule, "started > 2d") from None


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
