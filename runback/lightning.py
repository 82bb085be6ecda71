"""Keep checkpoints of a Lightning training: of `pytorch_lightning` and of `lightning`.

    callback = runback.lightning.CheckpointCallback(primary_metric=("val_loss", "minimize"))
    pl.Trainer(callbacks=[callback]).fit(module, loader)

They hold the optimizer's state and the loop's. To go on later, and end as if nothing
had happened: `experiment = runback.resume(RUN)`, then
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

from runback.checkpoints.callback import Keeper
from runback.errors import PackageMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

# The same code under two names: the callback is one of whichever is in use.
PACKAGES = ("pytorch_lightning", "lightning.pytorch")


class _Hooks:
    """Keep the training at the end of every `period`th epoch, with `trainer.callback_metrics`.

    filepath: the name that the file has in the store. primary_metric: name and goal
    ("minimize" or "maximize"), by which the best checkpoint is told. params: logged at
    the start. Joins the run that is active, or starts one and ends it with the training:
    FINISHED, FAILED or KILLED. Of several processes, the first keeps.
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

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not self._keeper.is_due(trainer.current_epoch):
            return
        zero = trainer.is_global_zero
        # All processes save, into the folder of the first.
        folder = tempfile.mkdtemp(prefix="runback-") if zero else ""
        path = Path(trainer.strategy.broadcast(folder)) / self._keeper.name
        try:
            trainer.save_checkpoint(path)
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


def __getattr__(name: str) -> Any:
    if name == "CheckpointCallback":
        loaded = [package for package in PACKAGES if package in sys.modules]
        return _made(*(loaded or filter(_is_installed, PACKAGES)))
    raise AttributeError(f"module 'runback.lightning' has no attribute {name!r}")


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package.partition(".")[0]) is not None


@functools.cache
def _made(*packages: str) -> type:
    """Make the class when Lightning is needed, not when this module is imported."""
    if not packages:
        raise PackageMissing("lightning", "runback.lightning")
    bases = [importlib.import_module(f"{package}.callbacks").Checkpoint for package in packages]
    names = {"__module__": __name__, "__doc__": _Hooks.__doc__}
    return type("CheckpointCallback", (_Hooks, *bases), names)
