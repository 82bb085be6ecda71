"""What an experiment says of its checkpoints: the latest and the best, as the store has them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.record import checkpoint, primary
from runback.store.places import local_path
from runback.store.tags import BEST_TAG, PRIMARY_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import LoggedModel, Run

    from runback.checkpoints.publish import Publisher


@dataclass(frozen=True)
class Checkpoint:
    """What was kept at a step.

    path: its file or folder in the store, to be read and not written; None if it has
    metrics alone. model_id: of MLflow's logged model, None without files.
    created_ms: since 1970, of one that was read.
    """

    step: int
    metrics: dict[str, float]
    path: Path | None = None
    model_id: str | None = None
    created_ms: int | None = None


def latest(publisher: Publisher) -> Checkpoint | None:
    """Return the checkpoint with files of the greatest step, None if there is none."""
    run = publisher.run()
    return next(whole(publisher, run), None)


def best(publisher: Publisher) -> Checkpoint | None:
    """Return the checkpoint with the best value of the primary metric, None if there is none.

    It has no path if only metrics were logged at that step.
    """
    run = publisher.run()
    known = primary.best_from_tag(run.data.tags.get(BEST_TAG, ""))
    if known is None:
        return None
    if known.get("model_id"):
        return next(whole(publisher, run, known["model_id"]), None)
    metric = primary.from_tag(run.data.tags.get(PRIMARY_TAG, ""))
    return Checkpoint(known["step"], {metric.name: known["value"]} if metric else {})


def whole(
    publisher: Publisher, run: Run, model_id: str | None = None, before_ms: int | None = None
) -> Iterator[Checkpoint]:
    """Yield the run's checkpoints that are ready, the latest first; or the one asked for.

    before_ms: those made earlier alone. Of a step's, the one that was made last goes
    first; MLflow names them in no order.
    """
    outputs = run.outputs.model_outputs if run.outputs else []
    found = [output for output in outputs if model_id in (None, output.model_id)]
    found.sort(key=lambda output: output.step, reverse=True)
    for step, those in groupby(found, key=lambda output: output.step):
        models = [model for output in those if (model := publisher.model(output.model_id))]
        early = [m for m in models if before_ms is None or m.creation_timestamp < before_ms]
        for model in sorted(early, key=lambda model: -model.creation_timestamp):
            metrics = {metric.key: metric.value for metric in model.metrics or ()}
            path, metrics = _content(publisher, model, metrics)
            yield Checkpoint(step, metrics, path, model.model_id, model.creation_timestamp)


def _content(
    publisher: Publisher, model: LoggedModel, metrics: dict[str, float]
) -> tuple[Path, dict[str, float]]:
    """Return the file or folder of a model, and its metrics exactly as they were logged."""
    here = local_path(model.artifact_location)
    folder = Path(here) if here else publisher.download(model.model_id)
    try:
        kept = checkpoint.read(folder, model.model_id)
    except RecordError:
        return folder, metrics  # somebody else's model: all of it
    return folder / kept.path, kept.metrics
