"""Take the files of an experiment out of its archives: its code, and what its checkpoints hold."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.keepsake import archive, rows
from runback.keepsake.publish import publish
from runback.record import checkpoint as stored

if TYPE_CHECKING:
    from pathlib import Path

    from runback.keepsake.experiment import Checkpoint, Experiment
    from runback.keepsake.repository import Repository
    from runback.keepsake.taken import Taken
    from runback.store.places import Places


@dataclass
class Fetched:
    """code: its part of the manifest, and archive its file. models: digests by model id.

    without_files: reasons by the id of the checkpoint, or of the experiment for its code.
    """

    code: dict[str, Any] | None = None
    archive: Path | None = None
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    without_files: dict[str, str] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not self.models and self.code is None


def fetch(
    repository: Repository,
    experiment: Experiment,
    before: Taken,
    places: Places,
    home: Path,
    drafts: Path,
) -> Fetched:
    """Unpack what is not here yet; the checkpoints are published, in `home`/models/.

    What is missing or damaged is named. Raises DiskFull, OSError.
    """
    found = Fetched()
    if before.lacks_code(experiment):
        found.archive = drafts / f"{experiment.run_id}.tar.gz"
        try:
            path = repository.code(experiment.id)
            found.code = archive.repack(path, experiment.id, found.archive)
        except RecordError as error:
            found.without_files[experiment.id] = error.reason
    for checkpoint in before.to_take(experiment):
        try:
            digests = _checkpoint(repository, experiment, checkpoint, places, home, drafts)
            found.models[checkpoint.model_id] = digests
        except RecordError as error:
            found.without_files[checkpoint.id] = error.reason
    return found


def _checkpoint(
    repository: Repository,
    experiment: Experiment,
    checkpoint: Checkpoint,
    places: Places,
    home: Path,
    drafts: Path,
) -> dict[str, Any]:
    """Return the digests of a checkpoint's files, unpacked unless a killed import did."""
    model_id = checkpoint.model_id
    if model_id in places.artifacts:
        known = stored.read(places.artifacts[model_id], model_id)
        if known.run_id != experiment.run_id:
            raise RecordError(places.artifacts[model_id], f"is of another run, {known.run_id}")
        return known.files
    path, artifacts = repository.checkpoint(checkpoint.id), drafts / model_id / "artifacts"
    artifacts.mkdir(parents=True)
    where = functools.partial(rows.place, checkpoint)
    digests = archive.unpack(path, checkpoint.id, where, artifacts)
    if not digests:
        raise RecordError(path, "holds no files")
    stored.write(artifacts, _described(experiment, checkpoint, digests))
    publish(drafts / model_id, home / "models" / model_id)
    places.artifacts[model_id] = home / "models" / model_id / "artifacts"
    return digests


def _described(
    experiment: Experiment, checkpoint: Checkpoint, digests: dict[str, dict[str, Any]]
) -> stored.Checkpoint:
    return stored.Checkpoint(
        run_id=experiment.run_id,
        model_id=checkpoint.model_id,
        step=checkpoint.step,
        path=rows.root_name(checkpoint),
        metrics=checkpoint.metrics,
        primary_metric=checkpoint.primary_metric,
        created_ms=checkpoint.created_ms,
        files=digests,
    )
