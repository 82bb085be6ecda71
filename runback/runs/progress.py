"""Say how far a run is that goes on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runback.runs.run import Run

# As Keras, Lightning, transformers and most scripts call it.
EPOCHS = ("epochs", "max_epochs", "num_epochs", "n_epochs", "num_train_epochs", "total_epochs")


@dataclass(frozen=True)
class Progress:
    """Epochs done, of how many, and about how long the rest takes; None where it is not known."""

    done: int | None
    total: int | None
    elapsed_s: float
    left_s: float | None


def progress(run: Run, last_step: int | None, now_s: float | None = None) -> Progress:
    """Return the progress that the run's own metrics and params tell.

    last_step: the greatest step at which it logged, the system's metrics aside.
    """
    now_s = time.time() if now_s is None else now_s
    elapsed_s = max(0.0, now_s - (run.listed.started_ms or 0) / 1000)
    done, total = _done(run, last_step), _total(run)
    if done and total and done > total:
        total = None  # its steps are no epochs
    if not done or not total:
        return Progress(done, total, elapsed_s, None)
    return Progress(done, total, elapsed_s, elapsed_s / done * (total - done))


def _done(run: Run, last_step: int | None) -> int | None:
    """Return the number of epochs: Lightning logs its epoch, as its steps are batches."""
    epoch = run.latest.get("epoch", math.nan)
    if math.isfinite(epoch) and abs(epoch) < 1e9:
        return int(epoch) + 1
    return None if last_step is None else last_step + 1


def _total(run: Run) -> int | None:
    for name in EPOCHS:
        text = run.params.get(name, "")
        if text.isdecimal() and len(text) < 10 and int(text) > 0:
            return int(text)
    return None
