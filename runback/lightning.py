"""Keep checkpoints and the ledger of a Lightning training: `pytorch_lightning`, `lightning`.

    callback = runback.lightning.CheckpointCallback(primary_metric=("val_loss", "minimize"))
    pl.Trainer(callbacks=[callback]).fit(module, loader)

They hold the states of the optimizer, the loop and the global generators. To go on
later, and end as if nothing had happened: `experiment = runback.resume(RUN)`, then
`trainer.fit(module, ckpt_path=experiment.latest.path)`.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.checkpoints import generators
from runback.checkpoints.callback import Keeper
from runback.errors import PackageMissing
from runback.ledger.lightning_fit import LightningFit

if TYPE_CHECKING:
    from collections.abc import Mapping

# The same code under two names: the callback is one of whichever is in use.
PACKAGES = ("pytorch_lightning", "lightning.pytorch")


class _Ledger:
    """Note digests of the weights, the batches and the generators of a fit in the run's ledger.

    At its beginning and after each epoch (with the epoch's last batch); with
    RUNBACK_LEDGER=step after each step too, with RUNBACK_LEDGER=off never. The training's
    own numbers are not touched. Of several processes, the first notes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fit = LightningFit()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._fit.begin(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, index: int) -> None:
        self._fit.batch(trainer, batch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        self._fit.step(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._fit.epoch(trainer)


class _Hooks(_Ledger):
    """Keep the training at the end of every `period`th epoch, with `trainer.callback_metrics`.

    filepath: the name that the file has in the store. primary_metric: name and goal
    ("minimize" or "maximize"), by which the best checkpoint is told. params: logged at
    the start. Joins the run that is active, or starts one and ends it with the training:
    FINISHED, FAILED or KILLED. Of several processes, the first keeps. Notes the ledger
    too, where no LedgerCallback does.
    """

    def __init__(
        self,
        filepath: str | Path = "model.ckpt",
        primary_metric: tuple[str, str] | None = None,
        period: int = 1,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._keeper = Keeper(filepath, primary_metric, period, params)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._keeper.begin()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint of Lightning's keeps of us: the generators' states."""
        return {"generators": generators.states()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the generators into that state: the loaders draw from them before any hook of ours.

        Lightning has its sanity check put back what it drew.
        """
        if known := state_dict.get("generators"):
            generators.restore(known)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if not self._keeper.is_due(trainer.current_epoch):
            return
        zero = trainer.is_global_zero
        # All processes save, into the folder of the first.
        folder = tempfile.mkdtemp(prefix="runback-") if zero else ""
        path = Path(trainer.strategy.broadcast(folder)) / self._keeper.name
        try:
            trainer.save_checkpoint(path, weights_only=False)  # unsaid, it logs a line each time
            if zero:
                self._keeper.keep(path, trainer.current_epoch, trainer.callback_metrics)
        finally:
            if zero:
                shutil.rmtree(folder, ignore_errors=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._keeper.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._keeper.end(exception)


if TYPE_CHECKING:
    CheckpointCallback = _Hooks
    LedgerCallback = _Ledger

# A class of Lightning's callbacks: one that is a Checkpoint stands in for ModelCheckpoint.
_HOOKS = {"CheckpointCallback": (_Hooks, "Checkpoint"), "LedgerCallback": (_Ledger, "Callback")}


def __getattr__(name: str) -> Any:
    if name in _HOOKS:
        loaded = [package for package in PACKAGES if package in sys.modules]
        return _made(name, *(loaded or filter(_is_installed, PACKAGES)))
    raise AttributeError(f"module 'runback.lightning' has no attribute {name!r}")


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package.partition(".")[0]) is not None


@functools.cache
def _made(name: str, *packages: str) -> type:
    """Make the class when Lightning is needed, not when this module is imported."""
    if not packages:
        raise PackageMissing("lightning", "runback.lightning")
    hooks, base = _HOOKS[name]
    bases = [getattr(importlib.import_module(f"{package}.callbacks"), base) for package in packages]
    return type(name, (hooks, *bases), {"__module__": __name__, "__doc__": hooks.__doc__})
