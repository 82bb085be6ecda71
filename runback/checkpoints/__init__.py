"""Keep checkpoints of a run while it goes on: what `import runback` gives to a training."""

from __future__ import annotations

from runback.checkpoints.experiment import Experiment
from runback.checkpoints.saved import Checkpoint
from runback.checkpoints.start import init, resume

__all__ = ["Checkpoint", "Experiment", "init", "resume"]
