"""Train in a container, keep every run, run it back.

    import runback

    experiment = runback.init(params={"learning_rate": 0.01})
    experiment.checkpoint("model.pt", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
    experiment.stop()

`runback.runs` reads what was recorded. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runback import runs
    from runback.checkpoints import Checkpoint, Experiment, init, resume
    from runback.ledger import epochs

__version__ = "0.1.0"
__all__ = ["Checkpoint", "Experiment", "__version__", "epochs", "init", "resume", "runs"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("keras", "lightning", "runs"):
        return import_module(f"runback.{name}")
    if name == "epochs":
        return import_module("runback.ledger").epochs
    if name in __all__:
        return getattr(import_module("runback.checkpoints"), name)
    raise AttributeError(f"module 'runback' has no attribute {name!r}")
