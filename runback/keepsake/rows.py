"""Say of an experiment of Keepsake what MLflow's tables and a record's manifest say of a run."""

from __future__ import annotations

import json
import math
import posixpath
import re
import shlex
from typing import TYPE_CHECKING, Any

from runback.record import checkpoint as stored
from runback.record import metrics
from runback.store.models import READY
from runback.store.tags import BEST_TAG, PRIMARY_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from runback.keepsake.experiment import Checkpoint, Experiment
    from runback.record.state import Row, Rows

# For a checkpoint of the whole project, which has no name, and one called as our own folder is.
UNNAMED = "checkpoint"


def root_name(checkpoint: Checkpoint) -> str:
    """Return what the checkpoint's file or folder is called among its model's artifacts."""
    name = posixpath.basename(posixpath.normpath(checkpoint.path))
    return name if stored.is_name(name) else UNNAMED


def place(checkpoint: Checkpoint, name: str) -> str | None:
    """Return where a file of the checkpoint's archive goes; None if it is none of its path."""
    path, root = posixpath.normpath(checkpoint.path), root_name(checkpoint)
    if path == ".":
        return f"{root}/{name}"
    if name != path and not name.startswith(path + "/"):
        return None
    return root + name[len(path) :]


def points(experiment: Experiment) -> list[metrics.Point]:
    """Return the metrics of every checkpoint, at its step and time."""
    return [point for checkpoint in experiment.checkpoints for point in _points(checkpoint)]


def _points(checkpoint: Checkpoint) -> list[metrics.Point]:
    when = checkpoint.created_ms, checkpoint.step
    return [metrics.point(name, value, *when) for name, value in checkpoint.metrics.items()]


def rows(
    experiment: Experiment, group: Row, artifacts: Path, models: Mapping[str, Path], end_ms: int
) -> Rows:
    """Return the rows of the run.

    group: of MLflow's table `experiments`. artifacts: the run's. models: the artifacts
    of each checkpoint with files, by model id. end_ms: when the run last did something.
    """
    own = {"run_uuid": experiment.run_id}
    with_files = [c for c in experiment.checkpoints if c.model_id in models]
    run = {
        **own,
        **{"name": experiment.short_id, "source_type": "UNKNOWN", "source_name": ""},
        **{"entry_point_name": "", "user_id": experiment.user, "status": "FINISHED"},
        **{"start_time": experiment.created_ms, "end_time": end_ms, "deleted_time": None},
        **{"source_version": "", "lifecycle_stage": "active", "artifact_uri": str(artifacts)},
        "experiment_id": group["experiment_id"],
    }
    home = {"experiment_id": group["experiment_id"]}
    return {
        "experiments": [group],
        "runs": [run],
        "params": [{"key": k, "value": v, **own} for k, v in experiment.params.items()],
        "tags": [{"key": k, "value": v, **own} for k, v in _tags(experiment, models).items()],
        "inputs": [_output(experiment, c) for c in with_files],
        "logged_models": [_model(experiment, c, models[c.model_id], home) for c in with_files],
        "logged_model_metrics": [
            row for c in with_files for row in _model_metrics(experiment, c, home)
        ],
    }


def _tags(experiment: Experiment, models: Iterable[str]) -> dict[str, str]:
    primary, best = experiment.primary_metric, _best(experiment, models)
    known = {
        "mlflow.runName": experiment.short_id,
        "mlflow.user": experiment.user,
        "mlflow.source.name": next(iter(_words(experiment.command)), ""),
        "mlflow.source.type": "LOCAL",
        PRIMARY_TAG: str(primary or ""),
        BEST_TAG: json.dumps(best) if best else "",
        "keepsake.id": experiment.id,
        "keepsake.command": experiment.command,
        "keepsake.host": experiment.host,
        "keepsake.path": experiment.path,
        "keepsake.version": experiment.version,
    }
    return {name: value for name, value in known.items() if value}


def _best(experiment: Experiment, models: Iterable[str]) -> dict[str, Any] | None:
    """Return the first of the checkpoints with the best value, which is finite."""
    primary = experiment.primary_metric
    if primary is None:
        return None
    sign = -1 if primary.goal == "maximize" else 1
    known = [c for c in experiment.checkpoints if math.isfinite(_value(c, primary.name))]
    if not known:
        return None
    found = min(known, key=lambda c: sign * _value(c, primary.name))
    model_id = found.model_id if found.model_id in models else None
    return {"value": _value(found, primary.name), "step": found.step, "model_id": model_id}


def _value(checkpoint: Checkpoint, metric: str) -> float:
    return checkpoint.metrics.get(metric, math.nan)


def _output(experiment: Experiment, checkpoint: Checkpoint) -> Row:
    """Return the row that ties a model to its run, at its step."""
    return {
        "input_uuid": checkpoint.id[32:],
        **{"source_type": "RUN_OUTPUT", "source_id": experiment.run_id},
        **{"destination_type": "MODEL_OUTPUT", "destination_id": checkpoint.model_id},
        "step": checkpoint.step,
    }


def _model(experiment: Experiment, checkpoint: Checkpoint, artifacts: Path, home: Row) -> Row:
    stem = posixpath.splitext(root_name(checkpoint))[0]
    return {
        **{"model_id": checkpoint.model_id, **home, "model_type": "checkpoint", "status": READY},
        # MLflow's names of models have none of these.
        "name": re.sub(r"[/:.%\"']", "-", stem),
        "artifact_location": str(artifacts),
        "creation_timestamp_ms": checkpoint.created_ms,
        "last_updated_timestamp_ms": checkpoint.created_ms,
        **{"lifecycle_stage": "active", "source_run_id": experiment.run_id, "status_message": None},
    }


def _model_metrics(experiment: Experiment, checkpoint: Checkpoint, home: Row) -> list[Row]:
    return [
        {
            **{"model_id": checkpoint.model_id, "metric_name": point.key, **home},
            "metric_timestamp_ms": point.timestamp,
            "metric_step": point.step,
            "metric_value": point.value,
            "run_id": experiment.run_id,
            **{"dataset_uuid": None, "dataset_name": None, "dataset_digest": None},
        }
        for point in _points(checkpoint)
    ]


def circumstances(experiment: Experiment) -> dict[str, Any]:
    """Return the parts of the manifest that Keepsake knew something of."""
    words = _words(experiment.command)
    command: dict[str, Any] = {
        **{"argv": words, "redacted": [], "script": words[0] if words else None, "module": None},
        **{"working_directory": None, "notebook": False, "environ": {}},
    }
    packages = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in sorted(experiment.packages.items())
    }
    known = {
        "command": command if words else None,
        "environment": {"python": experiment.python or None, "packages": packages},
        "process": {"host": experiment.host} if experiment.host else None,
    }
    return {name: part for name, part in known.items() if part}


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return [command]
