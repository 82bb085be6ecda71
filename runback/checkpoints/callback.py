"""What the callbacks of Keras and Lightning share: a run for a fit, a checkpoint for an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.checkpoints.errors import WrongArguments
from runback.checkpoints.start import init
from runback.checkpoints.values import params_of, primary_of
from runback.record.checkpoint import is_name
from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runback.checkpoints.experiment import Experiment
    from runback.checkpoints.saved import Checkpoint


class Keeper:
    """Keeps every `period`th epoch of a fit as `name`; epochs count from 0, and are its steps."""

    def __init__(self, filepath: Any, primary_metric: Any, period: Any, params: Any) -> None:
        """Raise WrongArguments, all problems at once."""
        problems: list[str] = []
        self.name = Path(filepath).name if isinstance(filepath, str | Path) else ""
        if not is_name(self.name):
            problems.append(f"filepath is {filepath!r}, not the name of a file"[:100])
        if type(period) is not int or period < 1:
            problems.append(f"period is {period!r}, not a number of epochs"[:100])
        # Whether it is among the metrics, the epochs tell: not each is validated.
        primary = primary_of(primary_metric, problems)
        params_of(params, {}, problems)
        if problems:
            raise WrongArguments("CheckpointCallback", problems)
        self._primary = (primary.name, primary.goal) if primary else None
        self._period: int = period
        self._params = params
        self._experiment: Experiment | None = None
        self._seen: set[str] = set()

    def begin(self) -> None:
        """Join the run that is active, or start one."""
        self._experiment = init(params=self._params)

    @property
    def start_from(self) -> Checkpoint | None:
        """Return the checkpoint at which a replay starts this fit, None if at its beginning."""
        return self._experiment.start_from if self._experiment else None

    def is_due(self, epoch: int) -> bool:
        return (epoch + 1) % self._period == 0

    def keep(self, path: Path, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Checkpoint what was saved at `path`; an epoch may lack the primary metric."""
        if self._experiment:
            is_there = self._primary is not None and self._primary[0] in metrics
            self._seen.update(metrics)
            self._experiment.checkpoint(path, epoch, metrics, self._primary if is_there else None)

    def end(self, error: BaseException | None = None) -> None:
        """End the run if `begin` started it: FINISHED, KILLED by Ctrl-C, FAILED otherwise."""
        if self._experiment:
            self._experiment.__exit__(type(error) if error else None, error, None)
            self._experiment = None
        if self._primary and self._seen and self._primary[0] not in self._seen and not error:
            known = ", ".join(sorted(self._seen))
            say(f"warning: no checkpoint has the primary metric {self._primary[0]!r} ({known})")
        self._seen.clear()
