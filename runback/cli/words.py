"""Word times, sizes and numbers for people."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86400
# Of a number that is no time of this age: some log nanoseconds where milliseconds belong.
UNTIMELY = (ValueError, OverflowError, OSError)
_UNITS = ("B", "kB", "MB", "GB", "TB")


def ago(ms: int | None, now_s: float | None = None) -> str:
    """Return how long ago a time was, or its date after a week; "" if there is none."""
    if ms is None:
        return ""
    passed_s = (time.time() if now_s is None else now_s) - ms / 1000
    if -MINUTE < passed_s < 7 * DAY:
        return f"{duration(max(0.0, passed_s))} ago"
    return local(ms).partition(" ")[0]


def local(ms: int) -> str:
    """Return a time as the clock on the wall shows it."""
    try:
        return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M:%S")
    except UNTIMELY:
        return f"{ms} ms"


def duration(seconds: float) -> str:
    """Return a time in its largest sensible unit: `45 s`, `12 min`, `3.5 h`, `2 d`."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.3g} h"
    return f"{seconds / DAY:.0f} d"


def iso(ms: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    if ms is None:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
    except UNTIMELY:
        return f"{ms} ms"


def size(count: int) -> str:
    """Return a number of bytes: `512 B`, `3.4 MB`."""
    if count < 1000:
        return f"{count} B"
    power = min(int(math.log10(count)) // 3, len(_UNITS) - 1)
    return f"{count / 1000**power:.3g} {_UNITS[power]}"


def short(value: float) -> str:
    """Return a number with five digits that count."""
    return f"{value:.5g}"


def plural(count: int, noun: str) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
