"""Find in a program's text what usually makes a training come out differently each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.replay import clocks, orders, seeds, source, switches

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runback.replay.source import Source

SUSPECTS_MAX = 50
OF_A_KIND_MAX = 10


@dataclass(frozen=True)
class Suspect:
    """A place in the code. kind: what is suspected. line: from 1. text: what stands there."""

    kind: str
    path: str
    line: int
    text: str


def suspects(code: Path, script: str | None = None) -> list[Suspect]:
    """Return the suspects of the code in a folder, in the order of files and lines.

    script: the main program, relative to the folder: only what it reaches by imports is
    looked at. Nothing is imported, and what does not parse is left out. At most
    OF_A_KIND_MAX of each kind, SUSPECTS_MAX in all.
    """
    sources = source.read(code, script)
    found, counts = list[Suspect](), Counter[str]()
    for suspect in sorted(set(_all(sources)), key=lambda s: (s.path, s.line, s.kind)):
        counts[suspect.kind] += 1
        if counts[suspect.kind] <= OF_A_KIND_MAX:
            found.append(suspect)
    return found[:SUSPECTS_MAX]


def _all(sources: Sequence[Source]) -> Iterator[Suspect]:
    unseeded = {seeds.PYTHON, seeds.NUMPY, seeds.TORCH, seeds.TENSORFLOW, seeds.KERAS}
    unseeded -= seeds.seeded(sources)
    are_seeded, is_deterministic = (
        switches.seeds_workers(sources),
        switches.is_deterministic(sources),
    )
    for one in sources:
        for kind, node in _of(one, unseeded, are_seeded, is_deterministic):
            yield Suspect(kind, one.path, *one.line(node))


def _of(
    one: Source, unseeded: set[str], are_seeded: bool, is_deterministic: bool
) -> Iterator[tuple[str, ast.AST]]:
    for rule in (
        *(seeds.own, clocks.clocks, orders.sets, orders.listings, orders.hashes),
        *(orders.completions, switches.assigned, switches.called),
    ):
        yield from rule(one)
    yield from seeds.shared(one, unseeded)
    yield from switches.workers(one, are_seeded)
    if not is_deterministic:
        yield from switches.gpu(one)
