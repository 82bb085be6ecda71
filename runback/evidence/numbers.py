"""How far two numbers are apart: in doubles between them, and within a tolerance."""

from __future__ import annotations

import math
import struct

_HALF = 1 << 63


def is_same(one: float, other: float) -> bool:
    """Say whether two doubles are the same bits; NaN equals NaN, -0.0 is not 0.0."""
    if math.isnan(one):
        return math.isnan(other)
    return one == other and math.copysign(1, one) == math.copysign(1, other)


def ulps(one: float, other: float) -> int | None:
    """Return how many doubles one has to step from one to the other; None with a NaN.

    -0.0 and 0.0 are neighbours, so that two that differ are never 0 apart.
    """
    if math.isnan(one) or math.isnan(other):
        return 0 if math.isnan(one) and math.isnan(other) else None
    return abs(_place(one) - _place(other))


def is_close(one: float, other: float, tolerance: float | None) -> bool:
    """Say whether a replayed number is near the recorded one, as numpy.isclose does; NaN is NaN."""
    if tolerance is None or is_same(one, other):
        return is_same(one, other)
    if not (math.isfinite(one) and math.isfinite(other)):
        return one == other
    return abs(one - other) <= tolerance + tolerance * abs(one)


def distance(one: float, other: float) -> float | None:
    """Return the absolute difference; None where it is no number."""
    found = abs(one - other)
    return None if math.isnan(found) else found


def _place(number: float) -> int:
    bits = int.from_bytes(struct.pack(">d", number))
    return _HALF - 1 - (bits - _HALF) if bits & _HALF else bits + _HALF
