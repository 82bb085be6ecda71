"""What makes a study: its space, its goal, and what proposes and prunes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from runback.sweep.space import Choices, Range


@dataclass(frozen=True)
class Design:
    """What is searched, and how. direction: "maximize" or "minimize".

    space: what is varied. fixed: the training's other parameters. sampler: made anew for
    each trial, from a seed of its own.
    """

    name: str
    metric: str
    direction: str
    seed: int
    space: Mapping[str, Range | Choices]
    fixed: Mapping[str, Any]
    sampler: Callable[[int], BaseSampler]
    pruner: BasePruner

    @property
    def terms(self) -> dict[str, str]:
        """Return, in words, what may not change while the study goes on."""
        searched = {f"search.{name}": str(varied) for name, varied in self.space.items()}
        how = {
            "sweep.metric": f"{self.metric} {self.direction}",
            "sweep.pruner": type(self.pruner).__name__,
            "sweep.seed": str(self.seed),
        }
        return {**how, **searched, **{name: str(value) for name, value in self.fixed.items()}}

    def differences(self, known: Mapping[str, str]) -> list[str]:
        """Return what a study was begun with otherwise, in words."""
        terms = self.terms
        names = dict.fromkeys((*terms, *known))
        return [
            f"{name}: {known.get(name, 'nothing')} then, {terms.get(name, 'nothing')} now"
            for name in names
            if known.get(name) != terms.get(name)
        ]

    def seed_of(self, place: int) -> int:
        """Return the seed of one trial: a study that goes on draws what it would have drawn."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {place}".encode()).digest()[:4])
