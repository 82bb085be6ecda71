"""Compare named tensors, bit for bit and, where asked, within a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.evidence.finding import DIFFERENT, EXTRA, MISSING, SAME, WITHIN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from runback.evidence.case import Case

# More that differ are counted, not named.
NAMED_MAX = 20
# Elements that are looked at at once: the copies that it takes stay small.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Tensor:
    """dtype: as its format calls it. array: its elements; of types that numpy has not, raw bits.

    real: makes numbers of raw bits, to tell how far they are apart.
    """

    dtype: str
    array: np.ndarray[Any, Any]
    real: Callable[[Any], Any] | None = None


Lazy = Callable[[], Tensor]


@dataclass
class _Total:
    """What the tensors of a file amount to. elements: that were compared."""

    tensors: int = 0
    elements: int = 0
    unnamed: int = 0
    worst: list[Finding] = field(default_factory=list)


def compare(
    case: Case, recorded: Mapping[str, Lazy], replayed: Mapping[str, Lazy]
) -> Iterator[Finding]:
    """Yield what differs by tensor, and one finding for all that do not. Raises CannotLook."""
    total, shown = _Total(), 0
    for name in sorted(recorded.keys() | replayed.keys()):
        found = _compared(case.named(name), recorded.get(name), replayed.get(name))
        if found.status == SAME:
            total.tensors += 1
            total.elements += found.count
        elif shown < NAMED_MAX:
            shown += 1
            yield found
        else:
            total.worst.append(found)
    if total.worst:
        yield _summed(case, total.worst)
    if total.tensors:
        same = f"{total.tensors} tensors" + (" of it" if shown else "")
        yield case.finding(SAME, count=total.elements, detail=same)


def _summed(case: Case, found: list[Finding]) -> Finding:
    status = next(
        (s for s in (DIFFERENT, MISSING, EXTRA) if any(f.status == s for f in found)), WITHIN
    )
    return case.finding(
        status,
        count=sum(f.count for f in found),
        differing=sum(f.differing for f in found),
        ulps=max((f.ulps for f in found if f.ulps is not None), default=None),
        largest=max((f.largest for f in found if f.largest is not None), default=None),
        detail=f"{len(found)} more tensors",
    )


def _compared(case: Case, one: Lazy | None, other: Lazy | None) -> Finding:
    if one is None or other is None:
        return case.finding(EXTRA if one is None else MISSING)
    return difference(case, one(), other())


def difference(case: Case, one: Tensor, other: Tensor) -> Finding:
    """Return what is found of one tensor."""
    shapes = [f"{tensor.dtype} {tensor.array.shape}" for tensor in (one, other)]
    count = int(one.array.size)
    if shapes[0] != shapes[1]:
        return case.finding(
            DIFFERENT, recorded=shapes[0], replayed=shapes[1], count=count, detail="another shape"
        )
    if one.array.dtype != object and one.array.tobytes() == other.array.tobytes():
        return case.finding(SAME, count=count)
    return _elements(case, one, other)


def _elements(case: Case, one: Tensor, other: Tensor) -> Finding:
    differing, far, largest, ulps = 0, 0, None, None
    flat = [_native(tensor.array).reshape(-1) for tensor in (one, other)]
    for start in range(0, flat[0].size, _BLOCK):
        a, b = (array[start : start + _BLOCK] for array in flat)
        found = _block(a, b, one.real, case.tolerance)
        differing, far = differing + found[0], far + found[1]
        largest, ulps = _most(largest, found[2]), _most(ulps, found[3])
    return case.finding(
        DIFFERENT if far else WITHIN if differing else SAME,
        count=int(flat[0].size),
        differing=differing,
        largest=largest,
        ulps=ulps,
    )


def _native(array: Any) -> Any:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _most(one: Any, other: Any) -> Any:
    return max((value for value in (one, other) if value is not None), default=None)


def _block(
    a: Any, b: Any, real: Callable[[Any], Any] | None, tolerance: float | None
) -> tuple[int, int, float | None, int | None]:
    """Return how many differ, how many by more than the tolerance, the largest difference, ulps."""
    import numpy as np

    if a.dtype.kind not in "fiucb":
        differing = int(np.count_nonzero(a != b))
        return differing, differing, None, None
    if a.dtype.kind == "c":
        part = np.dtype(f"f{a.dtype.itemsize // 2}")
        a, b = a.view(part), b.view(part)
    values = [real(x) if real else x for x in (a, b)]
    is_nan = values[0] != values[0], values[1] != values[1]
    differs = (_bits(a) != _bits(b)) & ~(is_nan[0] & is_nan[1])
    where = np.flatnonzero(differs)
    if not where.size:
        return 0, 0, None, None
    x, y = (value[where].astype(_wide(value.dtype)) for value in values)
    with np.errstate(all="ignore"):
        apart = np.abs(x - y)
        near = np.zeros(x.shape, bool) if tolerance is None else _near(x, y, apart, tolerance)
    known = apart[~np.isnan(apart)]
    ulps = _ulps(a[where], b[where], is_nan[0][where] | is_nan[1][where], bool(real))
    largest = float(known.max()) if known.size else None
    return int(where.size), int(np.count_nonzero(~near)), largest, ulps


def _wide(dtype: Any) -> Any:
    return "f8" if dtype.itemsize < 16 else dtype


def _near(x: Any, y: Any, apart: Any, tolerance: float) -> Any:
    import numpy as np

    finite = np.isfinite(x) & np.isfinite(y)
    return np.where(finite, apart <= tolerance + tolerance * np.abs(x), x == y)


def _bits(array: Any) -> Any:
    import numpy as np

    size = array.dtype.itemsize
    if size in (1, 2, 4, 8):
        return np.ascontiguousarray(array).view(f"u{size}")
    return np.ascontiguousarray(array).view(f"S{size}")


def _ulps(a: Any, b: Any, is_nan: Any, is_raw: bool) -> int | None:
    """Return how many numbers of their type lie between, at most; None of what has none."""
    import numpy as np

    if a.dtype.itemsize > 8 or a.dtype.kind == "b":
        return None
    if a.dtype.kind in "iu" and not is_raw:
        bits = [
            x.astype("i8").view("u8") ^ np.uint64(1 << 63)
            if x.dtype.kind == "i"
            else x.astype("u8")
            for x in (a, b)
        ]
    else:
        bits = [_places(_bits(x)) for x in (a, b)]
    apart = np.maximum(*bits) - np.minimum(*bits)
    apart = apart[~is_nan]
    return int(apart.max()) if apart.size else None


def _places(bits: Any) -> Any:
    """Return the places of floating-point numbers in their order, as uint64."""
    import numpy as np

    sign = bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign).astype("u8")
