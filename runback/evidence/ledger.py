"""Compare the ledgers of two runs: weights, batches and generators, moment by moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.evidence import lines
from runback.evidence.divergence import Walk
from runback.evidence.finding import (
    ASIDE,
    DIFFERENT,
    EXTRA,
    KILLED,
    LEDGER,
    MISSING,
    NOT_AGAIN,
    SAME,
    UNKNOWN,
    Divergence,
    Finding,
)
from runback.evidence.tensors import NAMED_MAX
from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runback.evidence.lines import Moment
    from runback.evidence.side import Pair, Wish
    from runback.record.ledger import Line

_HOW = "its callbacks keep one: runback.keras, runback.lightning, runback.ledger"
# What counts of a line, as the findings call it.
_WEIGHTS, _BATCHES, _DATA, _GENERATORS = "weights", "batches", "data", "generators"


@dataclass
class _Seen:
    """What both ledgers had: how many moments, by what was compared, and the first that differs."""

    compared: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    first: dict[str, Line] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: int = 0
    extra: int = 0
    last: list[Line | None] = field(default_factory=lambda: [None, None])

    def note(self, what: str, line: Line, names: tuple[str, ...]) -> None:
        self.compared[what] += 1
        if names:
            self.differing[what] += 1
            self.first.setdefault(what, line)
            self.names.setdefault(what, names)


def compare(pair: Pair) -> tuple[list[Finding], Divergence | None]:
    """Return what is found of the ledgers, and where they part. Raises RecordError."""
    paths = [side.record / files.LEDGER for side in (pair.recorded, pair.replayed)]
    there = [lines.is_there(path) for path in paths]
    if not all(there):
        return [_none(there)], None
    seen, walk = _Seen(), Walk()
    wish = pair.wish
    for moment in lines.moments(paths[0], paths[1], wish.from_step, wish.is_resumed):
        _note(seen, walk, moment, pair.wish)
    return [*_findings(seen, pair.wish)], walk.divergence


def _none(there: list[bool]) -> Finding:
    """Return that there is nothing to compare; count 1 where the replay lacks what there was."""
    if there[0]:
        return Finding(LEDGER, "ledger", UNKNOWN, detail="the replay kept none")
    who = "the original" if there[1] else "neither run"
    return Finding(LEDGER, "ledger", UNKNOWN, count=0, detail=f"{who} kept one ({_HOW})")


def _note(seen: _Seen, walk: Walk, moment: Moment, wish: Wish) -> None:
    a, b = moment.recorded, moment.replayed
    if a is not None and (b is None or not wish.is_partial):
        seen.last[0] = a
    if b is not None and (a is not None or not wish.is_partial):
        seen.last[1] = b
    if a is None or b is None:
        seen.missing += b is None
        seen.extra += a is None
        if not (wish.is_partial and a is None):
            walk.apart(moment)
        return
    if wish.is_partial:
        seen.last = [a, b]
    _note_both(seen, walk, a, b, moment.has_batch)


def _note_both(seen: _Seen, walk: Walk, a: Line, b: Line, has_batch: bool) -> None:
    weights = parted(weights_of(a), weights_of(b)) if a.weights and b.weights else None
    generators = parted(_common(a.random, b.random), _common(b.random, a.random))
    is_batch = has_batch and a.batch and b.batch and a.batches == b.batches
    batch = (("batch",) if a.batch != b.batch else ()) if is_batch else None
    data = (("data",) if a.data != b.data else ()) if a.data and b.data else None
    found = {_DATA: data, _BATCHES: batch, _WEIGHTS: weights}
    if _common(a.random, b.random):
        found[_GENERATORS] = generators
    for what, names in found.items():
        if names is not None:
            seen.note(what, a, names)
    walk.step(a, b, data, batch, weights)


def weights_of(line: Line) -> dict[str, str]:
    """Return the digests of the weights, and that of the optimizer's state among them."""
    own = {"(optimizer)": line.optimizer} if line.optimizer else {}
    return {**line.weights, **own}


def parted(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names whose digests differ, or that one of both lacks."""
    return tuple(sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n)))


def _common(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in one.items() if name in other}


def _findings(seen: _Seen, wish: Wish) -> Iterator[Finding]:
    for what in (_DATA, _BATCHES, _WEIGHTS, _GENERATORS):
        if seen.compared[what]:
            yield _finding(seen, what)
    if seen.missing:
        yield Finding(LEDGER, "moments", MISSING, count=seen.missing, differing=seen.missing)
    if seen.extra:
        status, detail = (ASIDE, KILLED) if wish.is_partial else (EXTRA, "")
        yield Finding(
            LEDGER, "moments", status, count=seen.extra, differing=seen.extra, detail=detail
        )
    if not seen.compared[_WEIGHTS]:
        yield Finding(LEDGER, _WEIGHTS, UNKNOWN, detail="the ledgers have no moment in common")
    if seen.last[0] and seen.last[1] and seen.last[0].weights and seen.last[1].weights:
        yield from _final(weights_of(seen.last[0]), weights_of(seen.last[1]))
    if wish.from_step is not None:
        detail = NOT_AGAIN.format(wish.from_step)
        yield Finding(LEDGER, "moments before", UNKNOWN, detail=detail)


def _finding(seen: _Seen, what: str) -> Finding:
    first = seen.first.get(what)
    status, detail = (DIFFERENT, _word(first, seen.names[what])) if first else (SAME, "")
    if what == _GENERATORS and first and not seen.differing[_WEIGHTS] + seen.differing[_BATCHES]:
        status, detail = ASIDE, f"{detail}; neither a batch nor a weight does"
    return Finding(
        LEDGER,
        what,
        status,
        count=seen.compared[what],
        step=first.step if first else None,
        differing=seen.differing[what],
        detail=detail,
    )


def _word(line: Line, names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} first differ at {line.at} of epoch {line.epoch}"


def _final(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Finding]:
    """Yield which of the final weights differ, and how many do not."""
    names = parted(one, other)
    for name in names[:NAMED_MAX]:
        status = EXTRA if name not in one else MISSING if name not in other else DIFFERENT
        yield Finding(LEDGER, f"final weights: {name}", status, differing=1, detail="by digest")
    if more := len(names) - NAMED_MAX if len(names) > NAMED_MAX else 0:
        detail = f"{more} more tensors, by digest"
        yield Finding(LEDGER, "final weights", DIFFERENT, count=more, differing=more, detail=detail)
    if same := len(one.keys() & other.keys() - {*names}):
        yield Finding(LEDGER, "final weights", SAME, count=same, detail=f"{same} tensors by digest")
