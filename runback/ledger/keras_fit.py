"""What can be seen of a Keras fit, whichever backend it runs on, through its callbacks."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from runback.capture.ledger import OFF, level
from runback.ledger import generators
from runback.ledger.fit import Fit, is_noted, readable
from runback.ledger.tensors import by_name, digest
from runback.record.ledger import STEP

if TYPE_CHECKING:
    from types import FrameType

# A sha256 of it takes half a second, once in a fit.
LARGEST_DATA_BYTES = 1_000_000_000


class KerasFit:
    """Notes the fits of one callback, one after the other."""

    def __init__(self) -> None:
        self.level = level()
        self._fit: Fit | None = None
        self._is_beginning = False
        self._epoch = 0
        self._first = 0

    @property
    def has_steps(self) -> bool:
        return self.level == STEP

    def begin(self) -> None:
        """Forget the fit before; the first epoch tells where this one begins."""
        self._fit = None
        self._is_beginning = self.level != OFF

    def epoch_begins(self, model: Any, epoch: int) -> None:
        self._epoch = epoch
        if self._is_beginning:
            self._is_beginning = False
            done = _iterations(model)
            self._first = done or 0
            if not is_noted(model, self, (epoch, done)):
                self._fit = Fit(lambda: look(model))
                self._fit.begin(epoch, lambda: _beginning(model))

    def step(self, model: Any) -> None:
        if self._fit:
            self._fit.step(self._epoch, self._steps(model))

    def epoch(self, model: Any, epoch: int) -> None:
        if self._fit:
            self._fit.epoch(epoch, self._steps(model))

    def _steps(self, model: Any) -> int | None:
        done = _iterations(model)
        return None if done is None else done - self._first


def _iterations(model: Any) -> int | None:
    """Return the optimizer's steps so far, None of a model that has none of its own."""
    steps: int | None = readable(lambda: int(model.optimizer.iterations))
    return steps


def look(model: Any) -> dict[str, Any]:
    """Return what every line has: weights by path, the generators with the layers' own."""
    known = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    seeds = [variable.value for variable in model.variables if id(variable) not in known]
    weights = by_name((weight.path, weight.value) for weight in model.weights)
    return {"weights": weights, "random": generators.states(seeds)}


def _beginning(model: Any) -> dict[str, Any]:
    state = readable(lambda: by_name((v.path, v.value) for v in model.optimizer.variables))
    return {
        "data": readable(_data),
        "optimizer": None if state is None else digest(state),
    }


def _data() -> str | None:
    """Return the digest of the arrays that `fit` was given, None of what is no array."""
    frame = _fit_frame()
    given = frame.f_locals if frame else {}
    arrays = [given.get(name) for name in ("x", "y", "sample_weight")]
    is_small = sum(map(_size, arrays)) <= LARGEST_DATA_BYTES
    return digest(arrays) if arrays[0] is not None and is_small else None


def _size(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return int(getattr(value, "nbytes", 0))


def _fit_frame() -> FrameType | None:
    """Return the call of Keras's `fit` in which this is, the innermost one."""
    for frame, _ in traceback.walk_stack(None):
        name = str(frame.f_globals.get("__name__"))
        if (
            frame.f_code.co_name == "fit"
            and name.startswith("keras.")
            and name.endswith(".trainer")
        ):
            return frame
    return None
