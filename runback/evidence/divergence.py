"""Decide what parted first between two trainings: data, randomness or arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runback.evidence.finding import Divergence
from runback.record.ledger import ALL, BEGIN

if TYPE_CHECKING:
    from runback.evidence.lines import Moment
    from runback.record.ledger import Line

DATA, RANDOMNESS, ARITHMETIC = "data", "randomness", "arithmetic"
_NAMED_MAX = 5
Names = tuple[str, ...]


@dataclass
class Walk:
    """Goes along two ledgers; `divergence` is where their data, batches or weights part first.

    Generators alone are no divergence: one that nothing was drawn from may be in any state.
    """

    divergence: Divergence | None = None
    _parted: tuple[int, Names] | None = None  # when the generators did, and which
    _moments: int = 0
    _has_all_batches: bool = True

    def step(
        self,
        line: Line,
        data: Names | None,
        batch: Names | None,
        weights: Names | None,
        random: Names,
    ) -> None:
        """Take a moment of both ledgers: the names that differ, None of what one has not."""
        if self.divergence:
            return
        self._moments += 1
        before = self._parted
        if random and not before:
            self._parted = self._moments, random
        if line.at != BEGIN and (batch is None or line.batches != ALL):
            self._has_all_batches = False
        if data:
            self._found(line, DATA, data, "the arrays that the fit was given differ")
        elif batch:
            self._batch(line, before)
        elif weights:
            self._weights(line, weights)

    def apart(self, moment: Moment) -> None:
        """Take a moment that only one ledger has."""
        line = moment.recorded or moment.replayed
        if self.divergence or line is None:
            return
        who = "the original" if moment.recorded else "the replay"
        detail = f"only {who} has this moment: another number of fits, epochs or steps"
        self._found(line, " or ".join((DATA, RANDOMNESS, ARITHMETIC)), (), detail)

    def _batch(self, line: Line, before: tuple[int, Names] | None) -> None:
        if before:
            detail = f"the batches differ, and before them the generators ({', '.join(before[1])})"
            self._found(line, RANDOMNESS, before[1], detail)
        else:
            detail = "the batches differ, and no generator did before"
            self._found(line, DATA, ("batch",), detail)

    def _weights(self, line: Line, weights: Names) -> None:
        if line.at == BEGIN:
            self._at_begin(line, weights)
        elif self._parted and self._moments - self._parted[0] <= 1:
            generators = ", ".join(self._parted[1])
            self._found(line, RANDOMNESS, weights, f"the generators differ too ({generators})")
        else:
            self._without_generators(line, weights)

    def _at_begin(self, line: Line, weights: Names) -> None:
        if self._parted:
            detail = f"at the beginning, and the generators do too ({', '.join(self._parted[1])})"
            self._found(line, RANDOMNESS, weights, detail)
        else:
            detail = "at the beginning, with the same generators then"
            self._found(line, f"{RANDOMNESS} or {ARITHMETIC}", weights, detail)

    def _without_generators(self, line: Line, weights: Names) -> None:
        """Take weights that differ though the generators do not, or did long before."""
        if self._parted:
            detail = f"generators differ since long ({', '.join(self._parted[1])})"
            what = [RANDOMNESS, ARITHMETIC]
        else:
            detail, what = "the generators are the same", [ARITHMETIC]
        if self._has_all_batches:
            self._found(line, " or ".join(what), weights, f"the same batches; {detail}")
        else:
            unseen = f"not every batch was seen; {detail}"
            self._found(line, " or ".join((DATA, *what)), weights, unseen)

    def _found(self, line: Line, what: str, names: Names, detail: str) -> None:
        step = line.step if line.step is not None else -1
        found = Divergence(line.fit, line.at, line.epoch, step, what, detail=detail)
        self.divergence = replace(found, names=names[:_NAMED_MAX])
