"""Compare two documents leaf by leaf: JSON, YAML, CSV, and what stands beside tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.evidence import addresses, numbers
from runback.evidence.case import CannotLook
from runback.evidence.finding import DIFFERENT, EXTRA, MISSING, SAME, WITHIN, Finding, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runback.evidence.addresses import Path
    from runback.evidence.case import Case
    from runback.evidence.own import Own

LEAVES_MAX = 1_000_000
_DEEPEST = 200
_NAMED_MAX = 5


class TooMany(CannotLook):
    def __init__(self) -> None:
        super().__init__("differs in its bytes, and has too many values: not looked into")


class Twice(CannotLook):
    def __init__(self, name: str) -> None:
        super().__init__(f"differs in its bytes, and has two values called {name}"[:250])


@dataclass
class Leaves:
    """What was found of all leaves. aside: the keys of those that were set aside."""

    count: int = 0
    far: list[Path] = field(default_factory=list)
    near: list[Path] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    extra: list[Path] = field(default_factory=list)
    aside: dict[str, None] = field(default_factory=dict)
    largest: float | None = None

    @property
    def status(self) -> str:
        found = ((self.far, DIFFERENT), (self.missing, MISSING), (self.extra, EXTRA))
        status = next((status for paths, status in found if paths), None)
        if status in (MISSING, EXTRA):
            return DIFFERENT  # of the document, which is there
        return status or (WITHIN if self.near else SAME)

    @property
    def detail(self) -> str:
        parts = [f"first {_word(self.far[0])}"] if self.far else []
        parts += [f"missing {_word(self.missing[0])}"] if self.missing else []
        parts += [f"more: {_word(self.extra[0])}"] if self.extra else []
        if self.aside:
            named = list(self.aside)
            more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
            parts.append(f"set aside: {', '.join(named[:_NAMED_MAX])}{more}")
        return "; ".join(parts)


def finding(case: Case, recorded: Any, replayed: Any, aside: Collection[str] = ()) -> Finding:
    """Return what is found of two documents. Raises CannotLook: TooMany leaves, Twice, too deep.

    aside: keys of the outermost dict whose values may differ.
    """
    raw = [_by_path(v, own) for v, own in zip((recorded, replayed), case.owns, strict=True)]
    one, other = (addresses.numbered(case, leaves) for leaves in raw)
    found = Leaves(len(one.keys() & other.keys()))
    if [one, other] != raw:
        found.aside[addresses.NAMED] = None
    found.missing = [path for path in one if path not in other]
    found.extra = [path for path in other if path not in one]
    for path in (path for path in one if path in other):
        _compare(found, path, one[path], other[path], case, aside)
    first = next(iter(found.far or found.near), None)
    return case.finding(
        found.status,
        count=found.count,
        differing=len(found.far) + len(found.near) + len(found.missing) + len(found.extra),
        recorded=_shown(one[first]) if first is not None else None,
        replayed=_shown(other[first]) if first is not None else None,
        largest=found.largest,
        detail=found.detail,
    )


def _compare(
    found: Leaves, path: Path, one: Any, other: Any, case: Case, aside: Collection[str]
) -> None:
    if is_same(one, other):
        return
    if isinstance(one, str) and isinstance(other, str) and _is_own(one, other, case):
        found.aside["the run's own ids and folders"] = None
    elif len(path) == 1 and path[0] in aside:
        found.aside[_word(path)] = None
    else:
        _number(found, path, one, other, case.tolerance)


def _number(found: Leaves, path: Path, one: Any, other: Any, tolerance: float | None) -> None:
    values = as_number(one), as_number(other)
    if values[0] is None or values[1] is None:
        found.far.append(path)
        return
    apart = numbers.distance(values[0], values[1])
    found.largest = max((d for d in (found.largest, apart) if d is not None), default=None)
    is_near = tolerance is not None and numbers.is_close(values[0], values[1], tolerance)
    (found.near if is_near else found.far).append(path)


def is_same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    return numbers.is_same(one, other) if isinstance(one, float) else bool(one == other)


def as_number(value: Any) -> float | None:
    """Return the number that a leaf is, or that its text is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _is_own(one: str, other: str, case: Case) -> bool:
    return case.owns[0].plain(one) == case.owns[1].plain(other)


def _by_path(document: Any, own: Own) -> dict[Path, Any]:
    found: dict[Path, Any] = {}
    for path, value in _flat(document, own):
        if path in found:
            raise Twice(_word(path))
        found[path] = value
    return found


def _flat(value: Any, own: Own, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the leaves by path; an empty dict or list is one, and so is each length."""
    left = [(path, value)]
    for _ in range(LEAVES_MAX):
        if not left:
            return
        path, value = left.pop()
        if len(path) > _DEEPEST:
            raise CannotLook("differs in its bytes, and is nested too deep")
        if isinstance(value, dict) and value:
            left += [((*path, _part(k, own)), v) for k, v in reversed(value.items())]
        elif isinstance(value, list | tuple) and value:
            left += [((*path, n), v) for n, v in reversed([*enumerate(value)])]
        else:
            yield path, value
    raise TooMany


def _part(key: Any, own: Own) -> str | tuple[str, str]:
    return own.plain(key) if isinstance(key, str) else (type(key).__name__, repr(key))


def _word(path: Path) -> str:
    parts = (part[1] if isinstance(part, tuple) else str(part) for part in path)
    return ".".join(parts)[:200] or "value"


def _shown(value: Any) -> Value:
    return value if isinstance(value, int | float) else str(value)[:200]
