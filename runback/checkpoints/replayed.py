"""Where a replayed process goes on: at a checkpoint of the original, which nothing touches.

What the recorded process went on with is what its run had when it resumed; with a step
asked for, it is that step's. The replay's own run stands where the original's would.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture.sources import sqlite_file
from runback.checkpoints import saved
from runback.checkpoints.errors import CheckpointFailed, NoSuchCheckpoint
from runback.checkpoints.publish import publisher_of
from runback.checkpoints.values import is_better
from runback.errors import AmbiguousRun, NoSuchRun, RecordError
from runback.record import checkpoint, files, manifest
from runback.record.primary import from_tag
from runback.store.find import find_id
from runback.store.places import local_path
from runback.store.tags import ATTEMPT_TAG, PRIMARY_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

    from runback.checkpoints.publish import Publisher
    from runback.checkpoints.saved import Checkpoint
    from runback.record.primary import PrimaryMetric

# What `runback replay` sets: the original's id, which attempt this is, and a step to start from.
ORIGINAL, ATTEMPT, STEP = "RUNBACK_REPLAY", "RUNBACK_REPLAY_ATTEMPT", "RUNBACK_REPLAY_FROM"


class Past:
    """What a run has from the one that it replays, until it has its own.

    first_step: of what comes now.
    """

    def __init__(self, publisher: Publisher, before_ms: int, first_step: int) -> None:
        """before_ms: what was made later does not count."""
        self.run = publisher.run()
        self.first_step = first_step
        self._publisher = publisher
        self._before_ms = before_ms

    @property
    def primary(self) -> PrimaryMetric | None:
        return from_tag(self.run.data.tags.get(PRIMARY_TAG, ""))

    def latest(self) -> Checkpoint | None:
        """Return the checkpoint to go on from, each digest compared. Raises CheckpointFailed."""
        found = next(saved.whole(self._publisher, self.run, before_ms=self._before_ms), None)
        return self._verified(found)

    def best(self) -> Checkpoint | None:
        """Return the best one with files, None without a primary metric. Raises as `latest`."""
        return self._verified(self._best())

    def best_value(self) -> dict[str, Any] | None:
        """Return what the run's tag said of the best value."""
        found, primary = self._best(), self.primary
        if not found or not primary:
            return None
        return {"value": found.metrics[primary.name], "step": found.step, "model_id": None}

    def _best(self) -> Checkpoint | None:
        best, value, primary = None, None, self.primary
        if primary is None:
            return None
        # In the order in which they were kept: of equals, the first is the best.
        for found in reversed([*saved.whole(self._publisher, self.run, None, self._before_ms)]):
            number = found.metrics.get(primary.name)
            if number is not None and is_better(number, value, primary.goal):
                best, value = found, number
        return best

    def _verified(self, found: Checkpoint | None) -> Checkpoint | None:
        if found is None or found.path is None or found.model_id is None:
            return found
        with self._publisher.failing(f"the checkpoint of step {found.step} cannot be read"):
            folder, expected = self._expected(found.path, found.model_id)
            for name, known in expected.items():
                if files.digest(folder / name) != known:
                    raise RecordError(folder / name, "differs from its digest")
        return found

    def _expected(self, path: Path, model_id: str) -> tuple[Path, dict[str, Any]]:
        """Return a model's folder, and digest and size of its files: its own, or the record's."""
        try:
            return path.parent, checkpoint.read(path.parent, model_id).files
        except RecordError:
            record = _record(self.run)
            known = manifest.read(record, self.run.info.run_id)["models"].get(model_id)
            if not isinstance(known, dict):
                raise RecordError(path, "has no digests to compare it with") from None
            return path, known


def is_replayed() -> bool:
    """Say whether this process replays a run."""
    return bool(os.environ.get(ORIGINAL))


def asked_step() -> int | None:
    """Return the step that the replay is to start from, None if it is the beginning."""
    text = os.environ.get(STEP, "") if is_replayed() else ""
    return int(text) if text else None


def past_of_step(project: Path) -> Past | None:
    """Return the original as of the step that is asked for, None if none is.

    Raises NoSuchCheckpoint, CheckpointFailed.
    """
    import mlflow

    step = asked_step()
    if step is None:
        return None
    publisher = publisher_of(mlflow.get_run(os.environ[ORIGINAL]), project)
    kept = [found for found in saved.whole(publisher, publisher.run()) if _is_ours(found)]
    those = [found for found in kept if found.step == step]
    if not those:
        raise NoSuchCheckpoint(publisher.run_id, step, sorted({found.step for found in kept}))
    return Past(publisher, (those[0].created_ms or 0) + 1, step + 1)


def past_of(text: str, project: Path) -> Past | None:
    """Return what `resume` went on with when it was recorded, None for a run of this replay.

    text: as given to it. Raises CheckpointFailed: the record does not say when that was.
    """
    import mlflow

    found = _meant(text)
    if found is None:
        return None
    if from_step := past_of_step(project):
        return from_step
    publisher = publisher_of(mlflow.get_run(found), project)
    before_ms = _resumed_ms(publisher)
    return Past(publisher, before_ms, _last_step(publisher, before_ms) + 1)


def _meant(text: str) -> str | None:
    """Return the id of the recorded run; None if this replay has made one of that name or id."""
    import mlflow

    original = os.environ[ORIGINAL]
    ours = f"tags.`{ATTEMPT_TAG}` = '{os.environ.get(ATTEMPT, '')}'"
    made = mlflow.search_runs(search_all_experiments=True, filter_string=ours, output_format="list")
    if any(run.info.run_id.startswith(text) for run in made):
        return None
    database = sqlite_file(mlflow.get_tracking_uri())
    if database is None or text.startswith("@"):
        return original
    try:
        return find_id(database.parent, text)
    except (NoSuchRun, AmbiguousRun):
        return original  # it was called that then, and the replay's run is now


def _resumed_ms(publisher: Publisher) -> int:
    run = publisher.run()
    known = manifest.read(_record(run), publisher.run_id)
    again = known.get("resumed")
    last = again[-1] if isinstance(again, list) and again else {}
    process = last.get("process") if isinstance(last, dict) else None
    since = process.get("recorded_from_ms") if isinstance(process, dict) else None
    if type(since) is not int:
        what = f"run {publisher.run_id[:8]} cannot go on as it did"
        raise CheckpointFailed(what, "its record does not say when it was resumed", publisher.root)
    return since


def _last_step(publisher: Publisher, before_ms: int) -> int:
    """Return the greatest step that the run had by then, -1 if none; not the system's metrics."""
    run = publisher.run()
    steps = [found.step for found in saved.whole(publisher, run, before_ms=before_ms)]
    for name in run.data.metrics:
        if not name.startswith("system/"):
            points = publisher.client.get_metric_history(publisher.run_id, name)
            steps += [point.step for point in points if point.timestamp < before_ms]
    return max(steps, default=-1)


def _record(run: Run) -> Path:
    return files.folder_of(Path(local_path(run.info.artifact_uri) or "/"))


def _is_ours(found: Checkpoint) -> bool:
    """Say whether `checkpoint()` kept it: a training can go on from it."""
    try:
        checkpoint.read((found.path or Path()).parent, found.model_id or "")
    except RecordError:
        return False
    return True
