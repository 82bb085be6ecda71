"""Keep checkpoints and the ledger of a Keras training, whichever backend it runs on.

    callback = runback.keras.CheckpointCallback(primary_metric=("val_loss", "minimize"))
    model.fit(x, y, callbacks=[callback])

To go on later: `experiment = runback.resume(RUN)`, then `keras.saving.load_model(
experiment.latest.path)` and `fit(…, initial_epoch=experiment.latest.step + 1)`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import sys
import tempfile
import threading
import traceback
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.checkpoints import generators
from runback.checkpoints.callback import Keeper
from runback.checkpoints.errors import CheckpointFailed
from runback.ledger.keras_fit import KerasFit
from runback.sweep.pruning import Pruning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runback.checkpoints.saved import Checkpoint

WEIGHTS = ".weights.h5"
# In a .keras file, beside what Keras puts there.
GENERATORS = "runback/generators.json"
# The fit that began last in each thread, as MLflow has an active run in each.
_BEGUN = threading.local()


class _Ledger:
    """Note digests of the weights, the generators and the data of a fit in the run's ledger.

    At its beginning and after each epoch; with RUNBACK_LEDGER=step after each step too,
    with RUNBACK_LEDGER=off never. The training's own numbers are not touched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fit = KerasFit()
        if self._fit.has_steps:  # Keras takes a longer way where a callback asks for each batch
            setattr(self, "on_train_batch_end", self._on_step)  # noqa: B010

    def on_train_begin(self, logs: Any = None) -> None:
        self._fit.begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._fit.epoch_begins(_model_of(self), epoch)

    def _on_step(self, batch: int, logs: Any = None) -> None:
        self._fit.step(_model_of(self))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._fit.epoch(_model_of(self), epoch)


class _Sweep:
    """End a fit early where the search says so whose trial this training is (sweep.py).

    After an epoch of which the search has the metric that it looks for. In a process that
    no search began, this does nothing; in the replay of a trial that was pruned, it ends
    the fit where that ended.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        self._pruning = Pruning()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._pruning.is_due(epoch, logs or {}):
            _model_of(self).stop_training = True


def _model_of(callback: Any) -> Any:
    return callback.model  # Keras sets it


class _Hooks(_Ledger):
    """Keep the model at the end of every `period`th epoch, with the epoch's metrics.

    filepath: the name that the file has in the store; Keras saves by its suffix (.keras,
    .weights.h5). primary_metric: name and goal ("minimize" or "maximize"), by which the
    best checkpoint is told. params: logged at the start. save_weights_only: without the
    optimizer's state, so that a training cannot go on from it to the bit. Joins the run
    that is active, or starts one and ends it with the training. Notes the ledger too,
    where no LedgerCallback does. A replay that is to
    start from a step restores it by itself.
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
        self._start: Checkpoint | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        if not _is_inside_another():
            _end_failed()
            _BEGUN.keeper = self._keeper
        self._keeper.begin()
        super().on_train_begin(logs)
        atexit.unregister(_end_failed)
        atexit.register(_end_failed)  # before the handlers of the run's, which take it for whole
        self._start = self._keeper.start_from
        if self._start:
            _load_weights(_model_of(self), self._start)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._start:  # not before: what others say of the model must not tell of it
            restore(_model_of(self), self._start)
            self._start = None
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if not self._keeper.is_due(epoch):
            return
        with tempfile.TemporaryDirectory(prefix="runback-") as folder:
            path = Path(folder) / self._keeper.name
            model = _model_of(self)
            (model.save_weights if self._save_weights_only else model.save)(path)
            if path.suffix == ".keras":
                _keep_generators(path, model)
            self._keeper.keep(path, epoch, logs or {})

    def on_train_end(self, logs: Any = None) -> None:
        _model_of(self)._initial_epoch = None  # it was for this fit, not for the next one
        self._keeper.end()


def restore(model: Any, checkpoint: Checkpoint) -> None:
    """Put weights, optimizer and random generators into the state of a checkpoint.

    What it needs, `CheckpointCallback` has kept. The next fit begins with the epoch after
    it, as after keras.callbacks.BackupAndRestore. Raises CheckpointFailed: the model is
    another one, or its file is.
    """
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    _load_weights(model, checkpoint)
    path = checkpoint.path or Path()
    with _failing(checkpoint):
        if path.suffix == ".keras":
            _restore_generators(path, model)


def _load_weights(model: Any, checkpoint: Checkpoint) -> None:
    """Load what the model has by now; of an optimizer that is built later, Keras warns."""
    with _failing(checkpoint), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.load_weights(checkpoint.path)
    model._initial_epoch = checkpoint.step + 1


@contextlib.contextmanager
def _failing(checkpoint: Checkpoint) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        what = f"this model cannot go on from the checkpoint of step {checkpoint.step}"
        raise CheckpointFailed(
            what, str(error).split("\n")[0], checkpoint.path or Path()
        ) from error


def _keep_generators(path: Path, model: Any) -> None:
    """Add to a .keras file, an archive, the states that Keras leaves out."""
    seeds = [[int(part) for part in variable.numpy()] for variable in _seeds(model)]
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        # A name alone would date it: of equal states, the same bytes.
        member = zipfile.ZipInfo(GENERATORS)
        archive.writestr(member, json.dumps({**generators.states(), "seeds": seeds}))


def _restore_generators(path: Path, model: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        if GENERATORS not in archive.namelist():
            return  # another callback's, or one of before
        kept = json.loads(archive.read(GENERATORS))
    for variable, seed in zip(_seeds(model), kept["seeds"], strict=True):
        variable.assign(seed)
    generators.restore(kept)


def _seeds(model: Any) -> list[Any]:
    """Return the states of the layers' own generators (Dropout's, for one)."""
    return [v for v in model.variables if v.path.endswith("seed_generator_state")]


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
    LedgerCallback = _Ledger
    SweepCallback = _Sweep

_HOOKS = {"CheckpointCallback": _Hooks, "LedgerCallback": _Ledger, "SweepCallback": _Sweep}


def __getattr__(name: str) -> Any:
    if name in _HOOKS:
        return _made(name)
    raise AttributeError(f"module 'runback.keras' has no attribute {name!r}")


@functools.cache
def _made(name: str) -> type:
    """Make the class when Keras is needed, not when this module is imported."""
    from keras.callbacks import Callback

    hooks = _HOOKS[name]
    return type(name, (hooks, Callback), {"__module__": __name__, "__doc__": hooks.__doc__})
