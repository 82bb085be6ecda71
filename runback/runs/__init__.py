"""Read the runs of a store: list, get, compare, draw. MLflow is not imported.

    import runback

    runs = runback.runs.list(filter="val_accuracy > 0.9", sort="val_loss")
    run = runback.runs.get("@latest")
    run.metrics["val_loss"].min()
    run.checkpoints[-1].checkout("weights")

pandas and matplotlib are imported when a table or a picture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runback.runs.checkpoints import Checkpoint
    from runback.runs.live import Run
    from runback.runs.reading import best, get, list
    from runback.runs.runs import Runs

__all__ = ["Checkpoint", "Run", "Runs", "best", "get", "list"]
_MODULES = {"Checkpoint": "checkpoints", "Run": "live", "Runs": "runs"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'runback.runs' has no attribute {name!r}")
    return getattr(import_module(f"runback.runs.{_MODULES.get(name, 'reading')}"), name)
