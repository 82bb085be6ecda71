"""A trial of a search: to run, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna

COMPLETE, PRUNED, FAILED = STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Trial:
    """A trial to run. place: from 0. name: its run's. kills: how often its process was killed."""

    place: int
    name: str
    values: Mapping[str, Any]
    kills: int
    asked: optuna.Trial


@dataclass(frozen=True)
class Result:
    """What came of a trial. value: the metric's last one. epochs: how many reported it."""

    place: int
    values: Mapping[str, Any]
    state: str
    value: float | None
    epochs: int
    run_id: str
    why: str = ""
