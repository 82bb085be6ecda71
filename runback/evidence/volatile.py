"""Names that tell that a value is another one each time: dates, durations, ids, hosts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# camelCase has words too.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TIMINGS = {
    *("time", "times", "duration", "durations", "elapsed", "seconds", "secs", "sec", "ms"),
    *("runtime", "walltime", "throughput", "latency"),
}
_RATES = {"second", "sec", "s", "minute", "min", "hour"}
# What has one of these is a result, whatever else is in its name: time_dependent_auc.
_RESULTS = {
    *("loss", "error", "mae", "mse", "rmse", "mape", "accuracy", "acc", "auc", "f1", "score"),
    *("precision", "recall", "r2", "perplexity", "reward"),
}
# What may stand behind the word that counts: fit_time_s, duration_mean.
_ENDS = {"s", "ms", "sec", "secs", "seconds", "ns", "mean", "avg", "total", "max", "min", "sum"}
_DATES = {"date", "time", "timestamp", "datetime", "created", "modified", "saved", "updated", "at"}
_MOMENT = re.compile(r".*(\d\d:\d\d|\d{4}-\d\d-\d\d).*", re.DOTALL)
_EARLIEST = 1e9  # in 2001: the seconds of a date, and all the more its ms
_IDS = {"id", "uuid", "guid"}
_DRAWN = re.compile(r"([a-z]{1,3}-)?([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_PLACES = {"host", "hostname", "pid"}


def words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def is_timing(name: str) -> bool:
    """Say whether a metric's name says that it is a duration or a rate per time."""
    found = words(name)
    if not _RESULTS.isdisjoint(found):
        return False
    return not _TIMINGS.isdisjoint(found) or _has_rate(found)


def is_volatile(key: str, recorded: object, replayed: object) -> bool:
    """Say whether the values under this key, which differ, are dates, durations or drawn ids."""
    found = words(key)
    both = (recorded, replayed)
    if not found or not _RESULTS.isdisjoint(found):
        return False
    if not _DATES.isdisjoint(found) and all(map(_is_moment, both)):
        return True
    if found[-1] in _IDS:
        return all(isinstance(v, str) and _DRAWN.fullmatch(v) for v in both)
    return found[-1] in _PLACES or (_ends_as_timing(found) and all(map(_is_number, both)))


def ignored(name: str, globs: Iterable[str]) -> str | None:
    """Return the first of the user's globs that this name has, None if none."""
    return next((glob for glob in globs if fnmatchcase(name, glob)), None)


def _ends_as_timing(found: list[str]) -> bool:
    while len(found) > 1 and found[-1] in _ENDS:
        found = found[:-1]
    return found[-1] in _TIMINGS or _has_rate(found[-2:])


def _has_rate(found: list[str]) -> bool:
    return any(one == "per" and other in _RATES for one, other in pairwise(found))


def _is_moment(value: object) -> bool:
    if isinstance(value, str):
        return _MOMENT.fullmatch(value) is not None
    return _is_number(value) and float(str(value)) >= _EARLIEST


def _is_number(value: object) -> bool:
    """Say whether a value is a number, or the text of one, as in CSV."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        float(value)
    except (ValueError, OverflowError):
        return False
    return True
