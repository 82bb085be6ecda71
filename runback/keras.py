"""Keep checkpoints of a Keras training, whichever backend it runs on.

    callback = runback.keras.CheckpointCallback(primary_metric=("val_loss", "minimize"))
    model.fit(x, y, callbacks=[callback])

To go on later: `experiment = runback.resume(RUN)`, then `keras.saving.load_model(
experiment.latest.path)` and `fit(…, initial_epoch=experiment.latest.step + 1)`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.checkpoints.callback import Keeper
from runback.checkpoints.errors import CheckpointFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS = ".weights.h5"
# The fit that began last in each thread, as MLflow has an active run in each.
_BEGUN = threading.local()


class _Hooks:
    """Keep the model at the end of every `period`th epoch, with the epoch's metrics.

    filepath: the name that the file has in the store; Keras saves by its suffix (.keras,
    .weights.h5). primary_metric: name and goal ("minimize" or "maximize"), by which the
    best checkpoint is told. params: logged at the start. save_weights_only: without the
    optimizer's state, so that a training cannot go on from it to the bit. Joins the run
    that is active, or starts one and ends it with the training.
    """

    def __init__(
        self,
        filepath: str | Path = "model.keras",
        primary_metric: tuple[str, str] | None = None,
        period: int = 1,
        params: Mapping[str, Any] | None = None,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__()
        if save_weights_only and not str(filepath).endswith(WEIGHTS):
            filepath = Path(filepath).with_suffix(WEIGHTS)
        self._keeper = Keeper(filepath, primary_metric, period, params)
        self._save_weights_only = save_weights_only

    def on_train_begin(self, logs: Any = None) -> None:
        if not _is_inside_another():
            _end_failed()
            _BEGUN.keeper = self._keeper
        self._keeper.begin()
        atexit.unregister(_end_failed)
        atexit.register(_end_failed)  # before the handlers of the run's, which take it for whole

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._keeper.is_due(epoch):
            return
        with tempfile.TemporaryDirectory(prefix="runback-") as folder:
            path = Path(folder) / self._keeper.name
            model: Any = getattr(self, "model")  # noqa: B009 - Keras sets it
            (model.save_weights if self._save_weights_only else model.save)(path)
            self._keeper.keep(path, epoch, logs or {})

    def on_train_end(self, logs: Any = None) -> None:
        self._keeper.end()


def _end_failed() -> None:
    """End the run of a fit that raised, which is not said to callbacks; at exit too."""
    if keeper := getattr(_BEGUN, "keeper", None):
        with contextlib.suppress(CheckpointFailed):  # the run may be gone
            keeper.end(getattr(sys, "last_value", None) or RuntimeError("the fit did not end"))


def _is_inside_another() -> bool:
    """Say whether a fit was begun by a callback or a data set of another one, which goes on."""
    frames = (frame for frame, _ in traceback.walk_stack(None) if frame.f_code.co_name == "fit")
    names = [str(frame.f_globals.get("__name__")) for frame in frames]
    return sum(name.startswith("keras.") and name.endswith(".trainer") for name in names) > 1


if TYPE_CHECKING:
    CheckpointCallback = _Hooks


def __getattr__(name: str) -> Any:
    if name == "CheckpointCallback":
        return _made()
    raise AttributeError(f"module 'runback.keras' has no attribute {name!r}")


@functools.cache
def _made() -> type:
    """Make the class when Keras is needed, not when this module is imported."""
    from keras.callbacks import Callback

    names = {"__module__": __name__, "__doc__": _Hooks.__doc__}
    return type("CheckpointCallback", (_Hooks, Callback), names)
