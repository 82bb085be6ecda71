"""The lines of two ledgers, paired: moment by moment, of those moments that both noted."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runback.record import ledger
from runback.record.ledger import BEGIN, EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runback.record.ledger import Line

Key = tuple[str, int, int, int | None]


@dataclass(frozen=True)
class Moment:
    """What both ledgers, or one of them, noted of one moment.

    has_batch: whether the batches of both lines are those since the same moment.
    """

    recorded: Line | None
    replayed: Line | None
    has_batch: bool = False


def moments(
    recorded: Path, replayed: Path, from_step: int | None, is_resumed: bool = False
) -> Iterator[Moment]:
    """Yield the moments of two ledgers, in order. Raises RecordError.

    from_step, is_resumed: as side.Wish has them.
    From the first on that is another in the replay, they are no longer paired: then
    each line is a moment of its own.
    """
    kinds = [_kinds(path) for path in (recorded, replayed)]
    both, is_alike = kinds[0] & kinds[1], kinds[0] == kinds[1]
    one, other = ledger.read(recorded), ledger.read(replayed)
    if is_resumed:
        one = _of_last_process(recorded)
    elif from_step is not None:
        one, other = _aligned(one, other, from_step)
    pairs = itertools.zip_longest(*((x for x in lines if x.at in both) for lines in (one, other)))
    for a, b in pairs:
        if a is None or b is None or key(a) != key(b):
            yield from ([Moment(a, None)] if a else []) + ([Moment(None, b)] if b else [])
            break
        yield Moment(a, b, has_batch=is_alike)
    yield from (m for a, b in pairs for m in (Moment(a, None), Moment(None, b)) if m != _NONE)


_NONE = Moment(None, None)


def key(line: Line) -> Key:
    return line.at, line.fit, line.epoch, line.step


def is_there(path: Path) -> bool:
    """Say whether a ledger is there and has a whole line."""
    return os.path.lexists(path) and next(ledger.read(path), None) is not None


def _kinds(path: Path) -> set[str]:
    return {line.at for line in ledger.read(path)}


def _of_last_process(recorded: Path) -> Iterator[Line]:
    """Return the lines since the last first fit: each process counts its fits from 0."""
    lines = enumerate(ledger.read(recorded))
    begins = [number for number, line in lines if line.at == BEGIN and line.fit == 0]
    return itertools.islice(ledger.read(recorded), begins[-1] if begins else 0, None)


def _aligned(
    recorded: Iterator[Line], replayed: Iterator[Line], from_step: int
) -> tuple[Iterator[Line], Iterator[Line]]:
    """Return both from where the replay began: at the end of an epoch of the original.

    The replay's counts go on from the original's there. None is paired if the original
    has no such line.
    """
    first = next(replayed, None)
    if first is None or first.at != BEGIN:
        return iter(()), iter(())
    first = replace(first, optimizer=None)  # which no line of an epoch's end has
    # A script that counts its epochs from 0 again says nothing: the step is the epoch then.
    epoch = first.epoch - 1 if first.epoch else from_step
    is_base = (line for line in recorded if line.at == EPOCH and line.epoch == epoch)
    base = next(is_base, None)
    if base is None:
        return iter(()), iter(())
    begun = replace(base, at=BEGIN, random={}, batch=None, batches=None)
    moved = (_moved(line, first, base) for line in itertools.chain([first], replayed))
    return itertools.chain([begun], recorded), moved


def _moved(line: Line, first: Line, base: Line) -> Line:
    steps = None if line.step is None or base.step is None else line.step + base.step
    epoch = line.epoch - first.epoch + base.epoch + (0 if line is first else 1)
    return replace(line, fit=line.fit - first.fit + base.fit, epoch=epoch, step=steps)
