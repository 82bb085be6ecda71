"""Several runs of one store, in an order: a sequence that can be drawn and tabulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from runback.errors import NoBest
from runback.record.primary import MAXIMIZE, MINIMIZE
from runback.remote.store import refresh
from runback.runs.live import Run, plot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.figure import Figure
    from pandas import DataFrame


class Runs(Sequence[Run]):
    """Runs of the store in the folder `root`; a slice of them is one of its kind."""

    def __init__(self, root: Path, runs: Iterable[Run]) -> None:
        self.root = root
        self._runs = tuple(runs)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        found = self._runs[index]
        return found if isinstance(found, Run) else Runs(self.root, found)

    def plot(
        self, metric: str | Sequence[str] | None = None, x: str = "epoch", log: bool = False
    ) -> Figure:
        """Return learning curves of all of them; the arguments are those of `Run.plot`."""
        return plot(self, metric, x, log)

    def scatter(self, param: str, metric: str, log_x: bool = False) -> Figure:
        """Return a param of the runs against a metric, as `runback scatter` draws it.

        Of the primary metric the best value, of others the latest. Raises NoSuchMetric,
        PackageMissing (matplotlib).
        """
        from runback.runs import cloud, drawing

        return drawing.scatter(cloud.read(self, param, metric, log_x))

    def best(self, metric: str | None = None, maximize: bool | None = None) -> Run:
        """Return the one with the best value of the metric at any of its steps.

        metric: the primary metric of the first that has one, if None. maximize: what the
        trainings or the metric's name say, if None. Raises NoBest, NoGoal, UnknownName.
        """
        from runback.runs import winner

        goal = None if maximize is None else MAXIMIZE if maximize else MINIMIZE
        if metric is None:
            primary = next((run.primary_metric for run in self if run.primary_metric), None)
            if primary is None:
                raise NoBest(self.root)
            metric, goal = primary.name, goal or primary.goal
        ids = [run.id for run in self]
        found = winner.best(self.root, metric, goal, among=ids).run
        return next(run for run in self if run.id == found.id)

    def to_frame(self) -> DataFrame:
        """Return a table: a row for each run, by id. Raises PackageMissing (pandas).

        Columns: name, experiment, status, started, duration_s, then `params.NAME` (numbers
        where all of them are) and `metrics.NAME` (the latest value).
        """
        from runback.runs import frames

        return frames.table(self)

    def refresh(self) -> Runs:
        """Read each run again, in place: what other processes wrote since."""
        refresh(self.root)
        for run in self:
            run.read_again()
        return self

    def __repr__(self) -> str:
        return f"<Runs: {len(self)} in {self.root}>"

    def _repr_html_(self) -> str:
        from runback.runs import html

        return html.of_runs(self)
