"""What `runback.runs` gives: functions that find runs by their store's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import NoSuchRun
from runback.record.primary import MAXIMIZE, MINIMIZE
from runback.remote.store import root_of
from runback.runs import filters, winner
from runback.runs.listing import Wish, select
from runback.runs.live import Run, live
from runback.runs.run import read
from runback.runs.runs import Runs
from runback.store.find import BEST, find_id
from runback.store.listing import ACTIVE, DELETED

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


def list(
    filter: str | Sequence[str] | None = None,
    sort: str | None = None,
    experiment: str | None = None,
    limit: int | None = None,
    path: str | os.PathLike[str] | None = None,
    descending: bool = False,
    deleted: bool = False,
) -> Runs:
    """Return the runs, newest first.

    filter: a condition or several that must all hold, as `runback ls --filter` takes them:
    "val_accuracy > 0.9". sort: by a field, metric or param, from the smallest up.
    path: the folder of mlflow.db and mlruns/, or a server's address; as on the command
    line, None is this folder or what MLFLOW_TRACKING_URI says. deleted: the deleted runs
    instead. Raises FilterError, UnknownName, NoSuchExperiment, StoreError.
    """
    texts = [filter] if isinstance(filter, str) else filter or ()
    stages = (DELETED,) if deleted else (ACTIVE,)
    conditions = [filters.parse(text) for text in texts]
    root = root_of(path)
    wish = Wish(conditions, sort, descending, limit, experiment, stages)
    return Runs(root, map(live, select(root, wish).runs))


def get(run: str, path: str | os.PathLike[str] | None = None) -> Run:
    """Return a run by its id, the beginning of one, its name, "@latest" or "@best".

    Raises NoSuchRun, AmbiguousRun, NoBest, StoreError.
    """
    root = root_of(path)
    found = read(root, [find_id(root, run)])
    if not found:  # purged just now
        raise NoSuchRun(run, root, 0)
    return live(found[0])


def best(
    metric: str | None = None,
    maximize: bool | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Run:
    """Return the run with the best value of the metric at any of its steps; NaN is never best.

    metric: the newest run's primary metric if None. maximize: what the trainings or the
    metric's name say, if None. Raises NoBest, NoGoal, UnknownName, StoreError.
    """
    if metric is None:
        found = get(BEST, path)
        if maximize is None or not found.primary_metric:
            return found
        metric = found.primary_metric.name
    goal = None if maximize is None else MAXIMIZE if maximize else MINIMIZE
    return live(winner.best(root_of(path), metric, goal).run)
