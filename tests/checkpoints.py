"""Runs with checkpoints as `checkpoint()` leaves them, made without MLflow."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from records import STORE, make_record, new_id, run_of

from runback.record import checkpoint, files, manifest
from runback.record.checkpoint import Checkpoint
from runback.record.metrics import Point
from runback.record.primary import PrimaryMetric

MADE_MS = 1_700_000_000_000


def make_run(
    root: Path,
    losses: list[float],
    contents: list[bytes] | None = None,
    primary: str | None = "loss minimize",
    status: str = "FINISHED",
    store: str = STORE,
    kind: str = "checkpoint",
) -> tuple[str, list[str]]:
    """Write a run with a checkpoint at each step; return its id and theirs, by step.

    contents: of the files, each stored once; without, they differ from each other.
    """
    run_id = new_id()
    model_ids = [f"m-{new_id()}" for _ in losses]
    contents = contents or [b"%d" % step * 1000 for step, _ in enumerate(losses)]
    tags = [{"key": "runback.primary_metric", "value": primary, "run_uuid": run_id}]
    points = [
        Point("loss", 0.0 if math.isnan(loss) else loss, MADE_MS + step, step, math.isnan(loss))
        for step, loss in enumerate(losses)
    ]
    rows: dict[str, list[dict[str, Any]]] = {"tags": tags if primary else []}
    for step, (model_id, loss) in enumerate(zip(model_ids, losses, strict=True)):
        for table, row in _rows(run_id, model_id, step, loss, kind).items():
            rows.setdefault(table, []).append(row)
    record = make_record(root / "mlruns", run_id, points, status=status, rows=rows, store=store)
    models = {}
    for step, (model_id, content) in enumerate(zip(model_ids, contents, strict=True)):
        folder = root / "mlruns" / "1" / "models" / model_id / "artifacts"
        _make_files(root, folder, run_id, step, losses[step], content)
        models[model_id] = manifest.digests(folder)
    if status != "RUNNING":
        manifest.finish(record, manifest.read(record, run_id), {}, models)
    return run_of(record), model_ids


def _rows(
    run_id: str, model_id: str, step: int, loss: float, kind: str
) -> dict[str, dict[str, Any]]:
    return {
        "logged_models": {
            "model_id": model_id,
            "experiment_id": 1,
            "name": "model",
            "artifact_location": f"/home/ada/mlruns/1/models/{model_id}/artifacts",
            "creation_timestamp_ms": MADE_MS + step,
            "last_updated_timestamp_ms": MADE_MS + step,
            "status": 2,
            "lifecycle_stage": "active",
            "model_type": kind,
            "source_run_id": run_id,
        },
        "inputs": {
            "input_uuid": new_id(),
            "source_type": "RUN_OUTPUT",
            "source_id": run_id,
            "destination_type": "MODEL_OUTPUT",
            "destination_id": model_id,
            "step": step,
        },
        "logged_model_metrics": {
            "model_id": model_id,
            "metric_name": "loss",
            "metric_timestamp_ms": MADE_MS + step,
            "metric_step": step,
            "metric_value": 0.0 if math.isnan(loss) else loss,
            "experiment_id": 1,
            "run_id": run_id,
        },
        "logged_model_tags": {
            "model_id": model_id,
            "experiment_id": 1,
            "tag_key": "part",
            "tag_value": "all",
        },
    }


def _make_files(
    root: Path, folder: Path, run_id: str, step: int, loss: float, content: bytes
) -> None:
    folder.mkdir(parents=True)
    word = hashlib.sha256(content).hexdigest()
    stored = root / ".runback" / "objects" / word[:2] / word[2:]
    if not stored.exists():
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(content)
        stored.chmod(0o444)
    (folder / "model.pt").hardlink_to(stored)
    known = {"model.pt": files.digest(folder / "model.pt")}
    model_id, primary = folder.parent.name, PrimaryMetric("loss", "minimize")
    checkpoint.write(
        folder,
        Checkpoint(run_id, model_id, step, "model.pt", {"loss": loss}, primary, MADE_MS, known),
    )
