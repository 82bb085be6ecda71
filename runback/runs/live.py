"""A run that can be read on: its history, checkpoints, curves; what `runback.runs` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import NoSuchRun, PackageMissing
from runback.remote.store import refresh
from runback.runs import run as entity
from runback.runs.checkpoints import Checkpoint
from runback.runs.errors import NoMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from pandas import DataFrame


class Run(entity.Run):
    """A run of the store in the folder `root`, as it was when it was read; see `refresh`."""

    @property
    def metrics(self) -> DataFrame:
        """Return the whole history: a row for each step, a column for each metric.

        Of a step that was logged again, the last value; NaN where nothing was logged. The
        system's metrics are left out. Raises PackageMissing (pandas), StoreError.
        """
        from runback.runs import frames

        return frames.history(self)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints with files, by step. Raises StoreError."""
        return [Checkpoint(self, model) for model in self.models]

    def plot(
        self, metric: str | Sequence[str] | None = None, x: str = "epoch", log: bool = False
    ) -> Figure:
        """Return its learning curves, as `runback plot` draws them.

        metric: one or several; the primary one, else a loss and a score, if None. x: "epoch"
        (the step) or "time". log: of the values. Raises NoSuchMetric, NoMetrics, PackageMissing.
        """
        return plot([self], metric, x, log)

    def refresh(self) -> Run:
        """Read the run again, in place: what other processes wrote since. Raises NoSuchRun."""
        refresh(self.root)
        return self.read_again()

    def read_again(self) -> Run:
        """Read the run again from the store's database. Raises NoSuchRun."""
        found = entity.read(self.root, [self.id])
        if not found:
            raise NoSuchRun(self.id, self.root, 0)
        self.listed, self.life = found[0].listed, found[0].life
        return self

    def _repr_html_(self) -> str:
        from runback.runs import html

        return html.of_run(self, [c.facts() for c in self.checkpoints], self._picture())

    def _picture(self) -> bytes | None:
        """Return the learning curves as an SVG, None if nothing can be drawn."""
        from runback.runs.picture import to_bytes

        try:
            return to_bytes(self.plot(), "svg") if self.latest else None
        except (PackageMissing, NoMetrics):
            return None


def live(run: entity.Run) -> Run:
    """Return the run as one that can be read on."""
    return Run(run.root, run.listed, run.life)


def plot(
    runs: Sequence[entity.Run], metric: str | Sequence[str] | None, x: str, log: bool
) -> Figure:
    """Return learning curves of the runs; the arguments are those of `Run.plot`."""
    from runback.runs import curves, drawing

    names = [metric] if isinstance(metric, str) else metric or ()
    return drawing.curves(curves.read(runs, names, x, log))
