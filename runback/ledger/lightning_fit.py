"""What can be seen of a Lightning training through its callbacks."""

from __future__ import annotations

from typing import Any

from runback.capture.ledger import OFF, level
from runback.ledger.fit import Fit, is_noted, readable
from runback.ledger.modules import look, optimizer_digest
from runback.ledger.tensors import digest
from runback.record.ledger import ALL, LAST, STEP


class LightningFit:
    """Notes the fits of one callback, one after the other; of several processes, the first."""

    def __init__(self) -> None:
        self.level = level()
        self._fit: Fit | None = None
        self._first = 0
        self._steps = 0
        self._batches: list[str] | None = []
        self._last: str | None = None

    def begin(self, trainer: Any, module: Any) -> None:
        """Note the start, after what is restored from a checkpoint and after the sanity check."""
        self._fit, self._batches, self._last = None, [], None
        self._first, self._steps = trainer.global_step, 0
        place = (trainer.current_epoch, trainer.global_step)
        if self.level == OFF or not trainer.is_global_zero or is_noted(module, self, place):
            return
        self._fit = Fit(lambda: look([module]))
        state = readable(lambda: optimizer_digest(trainer.optimizers))
        self._fit.begin(trainer.current_epoch, lambda: {"optimizer": state})

    def batch(self, trainer: Any, batch: Any) -> None:
        """Look at a batch before its step: all of them, or the last one of an epoch."""
        if self._fit and (self.level == STEP or trainer.is_last_batch):
            self._last = readable(lambda: digest(batch))
            if self._batches is not None:
                self._batches = None if self._last is None else [*self._batches, self._last]

    def step(self, trainer: Any) -> None:
        """Note a step, if the optimizer has made one: gradients may be collected first."""
        steps = trainer.global_step - self._first
        if self._fit and self.level == STEP and steps > self._steps:
            self._steps = steps
            batches, self._batches = self._batches, []
            self._fit.step(trainer.current_epoch, steps, lambda: _batch(batches))

    def epoch(self, trainer: Any) -> None:
        if self._fit:
            last = {"batch": self._last, "batches": LAST} if self._last else {}
            self._batches = []
            steps = trainer.global_step - self._first
            self._fit.epoch(trainer.current_epoch, steps, lambda: last)


def _batch(batches: list[str] | None) -> dict[str, Any]:
    """Return the fields of a step's batches: of one its digest, of several that of them all."""
    if not batches:
        return {}
    return {"batch": batches[0] if len(batches) == 1 else digest(batches), "batches": ALL}
