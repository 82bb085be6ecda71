"""A run, as a reader sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runback.record import primary
from runback.record.primary import MAXIMIZE, MINIMIZE
from runback.store import listing
from runback.store.alive import Life, lives
from runback.store.readable import readable
from runback.store.tags import BEST_TAG, PRIMARY_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runback.record.primary import PrimaryMetric
    from runback.store.listing import Listed
    from runback.store.models import Model

# What counts of a run, and which way, where its training did not say.
_LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "mape", "perplexity", "logloss")
_MORE_IS_BETTER = ("accuracy", "acc", "auc", "f1", "precision", "recall", "score", "r2", "map")


@dataclass(frozen=True)
class Best:
    """The best value of the primary metric. model_id: of the checkpoint, if it has files."""

    metric: str
    value: float
    step: int
    model_id: str | None


@dataclass(repr=False)
class Run:
    """A run of the store in the folder `root`, as it was when it was read.

    life: of one that is RUNNING, else None.
    """

    root: Path
    listed: Listed
    life: Life | None = None

    @property
    def id(self) -> str:
        return self.listed.run_id

    @property
    def short_id(self) -> str:
        return self.listed.run_id[:8]

    @property
    def name(self) -> str:
        return self.listed.name

    @property
    def experiment(self) -> str:
        return self.listed.experiment

    @property
    def status(self) -> str:
        """Return MLflow's status; LOST if it says RUNNING and the process is gone."""
        return "LOST" if self.life is Life.LOST else self.listed.status

    @property
    def started(self) -> datetime | None:
        return _time(self.listed.started_ms)

    @property
    def ended(self) -> datetime | None:
        return _time(self.listed.ended_ms)

    @property
    def duration_s(self) -> float | None:
        """Return how long it took, None while it goes on."""
        if self.listed.started_ms is None or self.listed.ended_ms is None:
            return None
        return (self.listed.ended_ms - self.listed.started_ms) / 1000

    @property
    def is_deleted(self) -> bool:
        return self.listed.stage == listing.DELETED

    @property
    def params(self) -> dict[str, str]:
        return self.listed.params

    @property
    def tags(self) -> dict[str, str]:
        return self.listed.tags

    @property
    def latest(self) -> dict[str, float]:
        """Return the latest value of each metric."""
        return self.listed.latest

    @property
    def primary_metric(self) -> PrimaryMetric | None:
        return primary.from_tag(self.tags.get(PRIMARY_TAG, ""))

    @property
    def best(self) -> Best | None:
        """Return the best value of the primary metric, None if the training named none."""
        metric = self.primary_metric
        found = primary.best_from_tag(self.tags.get(BEST_TAG, "")) if metric else None
        if metric is None or found is None:
            return None
        return Best(metric.name, found["value"], found["step"], found.get("model_id"))

    @property
    def models(self) -> list[Model]:
        """Return the run's logged models, by step."""
        from runback.store import models

        with readable(self.root) as connection:
            return models.of_runs(connection, [self.id]).get(self.id, [])

    def __repr__(self) -> str:
        return f"<Run {self.short_id} {self.name!r} {self.status}>"


def read(root: Path, run_ids: Sequence[str]) -> list[Run]:
    """Return these runs, in this order. Raises StoreError."""
    with readable(root) as connection:
        found = listing.with_ids(connection, run_ids)
        alive = lives(connection, root, found)
        return [Run(root, run, alive.get(run.run_id)) for run in found]


def goal_of(metric: str) -> str | None:
    """Return the goal that a metric's name tells, None if it tells none."""
    words = metric.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_")
    if any(word in _LESS_IS_BETTER for word in words):
        return MINIMIZE
    return MAXIMIZE if any(word in _MORE_IS_BETTER for word in words) else None


def _time(ms: int | None) -> datetime | None:
    try:
        return None if ms is None else datetime.fromtimestamp(ms / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None  # no time of this age
