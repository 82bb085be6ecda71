"""Decide what parted first between two trainings: data, randomness or arithmetic.

A generator that differs counts once it has been drawn from, which its changing state tells:
one that nobody uses may be in any state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.evidence.finding import Divergence
from runback.record.ledger import ALL, BEGIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.evidence.lines import Moment
    from runback.record.ledger import Line

DATA, RANDOMNESS, ARITHMETIC = "data", "randomness", "arithmetic"
_NAMED_MAX = 5
Names = tuple[str, ...]


@dataclass
class _Generators:
    """parted: by generator, the line where it first differs. drawn: the moment it then moved."""

    parted: dict[str, Line] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=dict)
    before: tuple[Line, Line] | None = None

    def take(self, a: Line, b: Line, moment: int) -> None:
        for name in a.random.keys() & b.random.keys():
            if a.random[name] == b.random[name]:
                continue
            if name in self.parted and self.has_moved(name, a, b):
                self.drawn.setdefault(name, moment)
            elif name not in self.parted:
                self.parted[name] = a
                if self.before and self.has_moved(name, a, b):
                    self.drawn[name] = moment
        self.before = a, b

    def has_moved(self, name: str, a: Line, b: Line) -> bool:
        pairs = zip(self.before or (), (a, b), strict=False)
        return any(old.random.get(name) != new.random[name] for old, new in pairs)


@dataclass
class Walk:
    """Goes along two ledgers; `divergence` is where data, batches or weights part first."""

    divergence: Divergence | None = None
    _generators: _Generators = field(default_factory=_Generators)
    _moment: int = 0
    _has_all_batches: bool = True

    def step(
        self, a: Line, b: Line, data: Names | None, batch: Names | None, weights: Names | None
    ) -> None:
        """Take a moment of both ledgers: the names that differ, None of what one has not."""
        if self.divergence:
            return
        self._moment += 1
        drawn_before = {*self._generators.drawn} | {*self._generators.parted}
        self._generators.take(a, b, self._moment)
        if a.at != BEGIN and (batch is None or a.batches != ALL):
            self._has_all_batches = False
        if data:
            self._found(a, [DATA], data, "the arrays that the fit was given differ")
        elif batch:
            self._batch(a, drawn_before & {*self._generators.drawn})
        elif weights:
            self._weights(a, weights)

    def apart(self, moment: Moment) -> None:
        """Take a moment that only one ledger has."""
        line = moment.recorded or moment.replayed
        if self.divergence or line is None:
            return
        who = "the original" if moment.recorded else "the replay"
        detail = f"only {who} has this moment: another number of fits, epochs or steps"
        self._found(line, [DATA, RANDOMNESS, ARITHMETIC], (), detail)

    def _batch(self, line: Line, before: set[str]) -> None:
        drawn = tuple(sorted(self._generators.drawn))
        if before:
            self._random("the batches differ, and before them the generators")
        elif drawn:
            detail = f"the batches differ, and with them the generators ({', '.join(drawn)})"
            self._found(line, [DATA, RANDOMNESS], ("batch", *drawn), detail)
        else:
            detail = f"the batches differ, and no generator that was drawn from{self._idle()}"
            self._found(line, [DATA], ("batch",), detail)

    def _weights(self, line: Line, weights: Names) -> None:
        if line.at == BEGIN:
            self._at_begin(line, weights)
        elif self._moment - max(self._generators.drawn.values(), default=-1) <= 1:
            self._random(f"the generators differ, and the weights at {line.at} {_place(line)}")
        else:
            self._other(line, weights)

    def _at_begin(self, line: Line, weights: Names) -> None:
        if names := ", ".join(self._generators.parted):
            detail = f"at the beginning, and so do the generators ({names})"
            self._found(line, [RANDOMNESS], weights, detail)
        else:
            detail = "at the beginning, with the same generators then"
            self._found(line, [RANDOMNESS, ARITHMETIC], weights, detail)

    def _other(self, line: Line, weights: Names) -> None:
        """Take weights that differ where the generators do not, or did without effect."""
        drawn = ", ".join(sorted(self._generators.drawn))
        what = [RANDOMNESS, ARITHMETIC] if drawn else [ARITHMETIC]
        detail = f"generators differed before ({drawn})" if drawn else "the same generators"
        if self._has_all_batches:
            self._found(line, what, weights, f"the same batches; {detail}{self._idle()}")
        else:
            detail = f"not every batch was seen; {detail}{self._idle()}"
            self._found(line, [DATA, *what], weights, detail)

    def _random(self, detail: str) -> None:
        """Note that generators parted first, where the first of those did that were drawn from."""
        names = tuple(sorted(self._generators.drawn))
        line = next(
            line for name, line in self._generators.parted.items() if name in self._generators.drawn
        )
        self._found(line, [RANDOMNESS], names, f"{detail} ({', '.join(names)})")

    def _idle(self) -> str:
        idle = sorted(self._generators.parted.keys() - self._generators.drawn.keys())
        return f" ({', '.join(idle)} differ, not drawn from)" if idle else ""

    def _found(self, line: Line, what: Sequence[str], names: Names, detail: str) -> None:
        step = -1 if line.step is None else line.step
        self.divergence = Divergence(
            line.fit, line.at, line.epoch, step, " or ".join(what), names[:_NAMED_MAX], detail
        )


def _place(line: Line) -> str:
    return f"{line.epoch}" if line.step is None else f"{line.epoch}, step {line.step}"
