"""Say which runs there are: newest first, filtered, sorted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.runs.errors import NoSuchExperiment
from runback.runs.run import Run
from runback.store import listing
from runback.store.alive import lives
from runback.store.readable import readable
from runback.store.tags import REPLAY_OF_TAG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from runback.runs.filters import Filter


@dataclass(frozen=True)
class Selection:
    """runs: in order. hidden: how many more there are, beyond the limit."""

    runs: list[Run]
    hidden: int = 0


@dataclass(frozen=True)
class Wish:
    """What to list. sort: a name, as in a filter. limit: at most so many; all of them if None.

    ids: only these, if not None. replays: whether runs that replays made are among them.
    """

    filters: Sequence[Filter] = ()
    sort: str | None = None
    descending: bool = False
    limit: int | None = None
    experiment: str | None = None
    stages: Sequence[str] = field(default=(listing.ACTIVE,))
    ids: Collection[str] | None = None
    replays: bool = True


def select(root: Path, wish: Wish) -> Selection:
    """Return the runs of the store in `root`. Raises StoreError, NoSuchExperiment, UnknownName."""
    # Only what the database sorts and counts itself need not be read whole.
    is_chosen = bool(wish.filters or wish.sort or not wish.replays) or wish.ids is not None
    few = None if is_chosen else wish.limit
    with readable(root) as connection:
        rows = listing.newest(connection, wish.stages, wish.experiment, few)
        if not rows and wish.experiment is not None:
            known = listing.experiments(connection)
            if wish.experiment not in known:
                raise NoSuchExperiment(wish.experiment, root, known)
        alive = lives(connection, root, rows)
        total = listing.count(connection, wish.stages, wish.experiment) if few else len(rows)
    runs = [Run(root, row, alive.get(row.run_id)) for row in rows]
    found = _chosen(runs, wish) if is_chosen else runs
    shown = found[: wish.limit]
    return Selection(shown, (total if few else len(found)) - len(shown))


def _chosen(runs: list[Run], wish: Wish) -> list[Run]:
    from runback.runs import filters

    if wish.ids is not None:
        runs = [run for run in runs if run.id in wish.ids]
    if not wish.replays:
        runs = [run for run in runs if REPLAY_OF_TAG not in run.tags]
    if wish.sort:  # of all runs: those that are left may have no such value
        filters.check_names(runs, [wish.sort])
    found = filters.selected(runs, wish.filters)
    return filters.ordered(found, wish.sort, wish.descending) if wish.sort else found


def differing(runs: Sequence[Run]) -> list[str]:
    """Return the params whose values are not the same in all of the runs.

    Those that all of them have come first.
    """
    if len(runs) < 2:
        return []
    first = runs[0].params
    names = {name for run in runs for name in run.params}
    found = (name for name in names if any(run.params.get(name) != first.get(name) for run in runs))
    return sorted(found, key=lambda name: (any(name not in run.params for run in runs), name))


def metric_names(runs: Iterable[Run]) -> list[str]:
    """Return the runs' metrics: primary ones, then those of validation, then the others."""
    names = {name for run in runs for name in run.latest}
    primary = {run.primary_metric.name for run in runs if run.primary_metric}
    return sorted(names, key=lambda name: (name not in primary, not name.startswith("val"), name))
