"""checkpoint.json: what a stored checkpoint consists of, and at which step with which metrics.

It lies among the files of a logged model, in `runback/` as a run's record does, and
travels with them. Written before they are published, and never changed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files, metrics
from runback.record.primary import GOALS, PrimaryMetric
from runback.record.state import RUN_ID, is_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "checkpoint.json"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# JSON has no numbers for these.
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Checkpoint:
    """Files that were saved at a step.

    path: the name of the file or folder among the model's artifacts. files: digest
    and size of each, as `files.digest` returns them, by path relative to the
    artifacts, with `/`. metrics: as they were, NaN and infinities too.
    """

    run_id: str
    model_id: str
    step: int
    path: str
    metrics: dict[str, float]
    primary_metric: PrimaryMetric | None
    created_ms: int
    files: dict[str, dict[str, Any]]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `runback/checkpoint.json` into the folder that becomes the model's artifacts."""
    record = files.folder_of(folder)
    record.mkdir(exist_ok=True)
    primary = checkpoint.primary_metric
    content = {
        "format": files.FORMAT,
        "run_id": checkpoint.run_id,
        "model_id": checkpoint.model_id,
        "step": checkpoint.step,
        "path": checkpoint.path,
        "metrics": {name: metrics.word(value) for name, value in checkpoint.metrics.items()},
        "primary_metric": {"name": primary.name, "goal": primary.goal} if primary else None,
        "created_ms": checkpoint.created_ms,
        "files": checkpoint.files,
    }
    files.write_json(record / NAME, content)


def read(folder: Path, model_id: str) -> Checkpoint:
    """Return what the checkpoint in a model's artifact folder says of itself.

    It may come from anywhere: ids are ids, no path leaves the folder, each file lies
    at or below `path`. Raises RecordError.
    """
    path = files.folder_of(folder) / NAME
    files.refuse_links(path.parent)
    content = files.read_json(path)
    if content.get("model_id") != model_id:
        raise RecordError(path, f"is of another checkpoint, {content.get('model_id')!r}"[:200])
    for name, is_right in _FIELDS.items():
        if not is_right(content.get(name)):
            raise RecordError(path, f"has no proper {name}: {json.dumps(content.get(name))}"[:200])
    root = content["path"]
    if stray := next((f for f in content["files"] if not _is_below(f, root)), None):
        raise RecordError(path, f"names a file that is not in {root!r}: {stray!r}"[:200])
    metrics = {name: float(_WORDS.get(v, v)) for name, v in content["metrics"].items()}
    primary = content.get("primary_metric")
    return Checkpoint(
        run_id=content["run_id"],
        model_id=model_id,
        step=content["step"],
        path=root,
        metrics=metrics,
        primary_metric=PrimaryMetric(primary["name"], primary["goal"]) if primary else None,
        created_ms=content["created_ms"],
        files=content["files"],
    )


def is_name(name: Any) -> bool:
    """Say whether a file or folder can be called that among a model's artifacts."""
    return _is_part(name) and name != files.FOLDER


def _is_part(part: Any) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not {"/", "\0"} & set(part)


def _is_below(name: str, root: str) -> bool:
    parts = name.split("/")
    return parts[0] == root and all(map(_is_part, parts))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and RUN_ID.fullmatch(value) is not None


def _is_step(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return type(value) is float or (type(value) is str and value in _WORDS)


def _is_primary(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and value.get("goal") in GOALS
    )


def _are_files(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > 0 and all(map(_is_file, value.values()))


def _is_file(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"digest", "size_bytes"}
        and isinstance(value["digest"], str)
        and DIGEST.fullmatch(value["digest"]) is not None
        and type(value["size_bytes"]) is int
        and value["size_bytes"] >= 0
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "run_id": _is_id,
    "step": _is_step,
    "path": is_name,
    "metrics": _are_metrics,
    "primary_metric": _is_primary,
    "created_ms": is_time,
    "files": _are_files,
}
