"""Names that tell that a value is another one each time: dates, durations, ids, hosts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Words of a name, its last one or any; camelCase has words too.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TIMINGS = {
    *("time", "times", "duration", "durations", "elapsed", "seconds", "secs", "sec", "ms"),
    *("runtime", "walltime", "throughput", "latency"),
}
_RATES = {"second", "sec", "s", "minute", "min", "hour"}
_DATES = {"date", "time", "timestamp", "datetime", "created", "modified", "saved", "updated"}
_MOMENT = re.compile(r"[-+:.,TZ/ \d]*\d[-+:.,TZ/ \d]*|.*\d\d:\d\d.*|.*\d{4}-\d\d-\d\d.*", re.DOTALL)
_IDS = {"id", "ids", "uuid", "guid"}
_DRAWN = re.compile(r"(\w{1,3}-)?[0-9a-f]{8}([0-9a-f-]{8,})?", re.IGNORECASE)
_PLACES = {"host", "hostname", "pid"}


def words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def is_timing(name: str) -> bool:
    """Say whether a metric's name says that it is a duration or a rate per time."""
    found = words(name)
    return not _TIMINGS.isdisjoint(found) or any(
        a == "per" and b in _RATES for a, b in pairwise(found)
    )


def is_volatile(key: str, recorded: object, replayed: object) -> bool:
    """Say whether the values under this key, which differ, are dates, durations or drawn ids."""
    found = words(key)
    if not found:
        return False
    both = (recorded, replayed)
    if is_timing(key) or not _DATES.isdisjoint(found) or found[-1] == "at":
        return all(_is_number(v) or (isinstance(v, str) and _MOMENT.fullmatch(v)) for v in both)
    if found[-1] in _IDS:
        return all(isinstance(v, str) and _DRAWN.fullmatch(v) for v in both)
    return found[-1] in _PLACES


def ignored(name: str, globs: Iterable[str]) -> str | None:
    """Return the first of the user's globs that this name has, None if none."""
    return next((glob for glob in globs if fnmatchcase(name, glob)), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
