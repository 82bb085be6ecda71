"""Which metric counts of a run, which way, and its best value so far: as a run's tags say it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MINIMIZE, MAXIMIZE = GOALS = ("minimize", "maximize")


@dataclass(frozen=True)
class PrimaryMetric:
    """By which metric a run's checkpoints are compared. goal: "minimize" or "maximize"."""

    name: str
    goal: str

    def __str__(self) -> str:
        return f"{self.name} {self.goal}"


def from_tag(text: str) -> PrimaryMetric | None:
    """Return the primary metric of `loss minimize`, None of what is none."""
    name, _, goal = text.rpartition(" ")
    return PrimaryMetric(name, goal) if name and goal in GOALS else None


def best_from_tag(text: str) -> dict[str, Any] | None:
    """Return what the tag says of the best value: value, step, model_id; None of what is none."""
    try:
        found = json.loads(text)
        return {**found, "value": float(found["value"]), "step": int(found["step"])}
    except (ValueError, TypeError, KeyError):
        return None
