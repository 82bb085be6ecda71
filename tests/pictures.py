"""A store with runs to draw."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from conftest import plain_environ
from records import make_record, make_store, run_index

from runback.record.metrics import Point

START_MS = 1_700_000_000_000
OWL, LARK, WREN = ("1a2b3c4d" + "0" * 24, "9f8e7d6c" + "0" * 24, "77777777" + "0" * 24)
HOSTILE = "</svg><script>alert(1)</script>$x^$ \x1b[31m\nname"


def curve(metric: str, value: Callable[[int], float], count: int = 12) -> list[Point]:
    """Return a point every 15 seconds."""
    return [point(metric, value(step), step) for step in range(count)]


def point(metric: str, value: float, step: int) -> Point:
    is_nan = math.isnan(value)
    return Point(metric, 0.0 if is_nan else value, START_MS + 15_000 * step, step, is_nan)


def add(
    root: Path, run_id: str, name: str, points: Iterable[Point], params: dict[str, str], **tags: str
) -> None:
    """Put a run into the store in `root`: its record, and its rows."""
    row = {
        **{"run_uuid": run_id, "name": name, "source_type": "UNKNOWN", "user_id": "ada"},
        **{"status": "FINISHED", "start_time": START_MS, "end_time": START_MS + 180_000},
        **{"lifecycle_stage": "active", "experiment_id": 1, "deleted_time": None},
        "artifact_uri": f"{root}/mlruns/1/{run_id}/artifacts",
    }
    rows: dict[str, Any] = {
        "runs": [row],
        "params": [{"key": k, "value": v, "run_uuid": run_id} for k, v in params.items()],
        "tags": [
            {"key": k.replace("__", "."), "value": v, "run_uuid": run_id} for k, v in tags.items()
        ],
    }
    make_record(root / "mlruns", run_id, points, rows=rows)


def fill(folder: Path, template: Path) -> Path:
    """Return a store with three runs."""
    root = make_store(folder, template)
    loss = curve("val_loss", lambda step: 2 * math.exp(-step / 4) + 0.1)
    seen = curve("loss", lambda step: 2 * math.exp(-step / 4))
    accuracy = curve("accuracy", lambda step: 1 - 0.5 * math.exp(-step / 4))
    params = {"learning_rate": "0.1", "optimizer": "adam"}
    add(root, OWL, "owl", [*loss, *seen, *accuracy], params)
    gap = curve("val_loss", lambda step: math.nan if 3 < step < 7 else 3 * math.exp(-step / 6))
    params = {"learning_rate": "0.01", "optimizer": "sgd"}
    primary = {
        "runback__primary_metric": "val_loss minimize",
        "runback__best": '{"value": 0.25, "step": 9, "model_id": null}',
    }
    add(root, LARK, "lark", gap, params, **primary)
    add(root, WREN, HOSTILE, curve("val_loss", lambda step: 4 - step / 4), {"optimizer": "adam"})
    run_index(root)
    return root


def piped(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runback", *words, "--store", str(root)]
    return subprocess.run(command, env=plain_environ(), capture_output=True, text=True, cwd=root)
