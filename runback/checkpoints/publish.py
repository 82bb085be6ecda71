"""Tell MLflow of checkpoints: first what nobody relies on, and last that they are there.

The project's own SQLite file is written to with SQL, which takes a tenth of the time;
another store, and a schema that is not known, through MLflow's client.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture.sources import sqlite_file
from runback.checkpoints.errors import CheckpointFailed
from runback.checkpoints.values import is_better
from runback.errors import StoreError
from runback.store.identity import private_folder
from runback.store.log import CHECKPOINT, Log, best_of
from runback.store.places import local_path
from runback.store.schema import opened
from runback.store.tags import BEST_TAG, PRIMARY_TAG, SESSION_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.entities import LoggedModel, Run

    from runback.record.primary import PrimaryMetric

# MLflow takes none of these in a model's name.
NOT_IN_NAMES = re.compile(r"[/:.%\"']")


@contextlib.contextmanager
def failing(what: str, root: Path) -> Iterator[None]:
    """Have what a disk, a database or MLflow refuses raised as CheckpointFailed.

    what: that could not be done. root: the store's folder.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointFailed(what, reason, root) from error
    except MlflowException as error:
        raise CheckpointFailed(what, error.message.split("\n")[0], root) from error


def publisher_of(run: Run, project: Path) -> Publisher:
    """Return what speaks of the run to the store that MLflow is pointed at.

    project: the folder that stands in for the store's, if that is a server's.
    """
    import mlflow

    uri = mlflow.get_tracking_uri()
    database = sqlite_file(uri)
    if database is None:
        return Publisher(run, uri, project, is_local=False)
    try:
        with opened(database):
            return LocalPublisher(run, uri, database)
    except StoreError:
        return Publisher(run, uri, database.parent, is_local=True)


class Publisher:
    """Speaks of one run through MLflow's client. root: where `.runback/` is.

    is_local: the store is a file of this machine.
    """

    def __init__(self, run: Run, uri: str, root: Path, is_local: bool) -> None:
        import mlflow

        self.run_id: str = run.info.run_id
        self.root = root
        self.is_local = is_local
        self.client = mlflow.MlflowClient(uri)
        self._uri = uri
        self._experiment_id = run.info.experiment_id
        self._best: float | None = None

    def failing(self, what: str) -> contextlib.AbstractContextManager[None]:
        return failing(what, self.root)

    def run(self) -> Run:
        """Return the run as it is now."""
        return self.client.get_run(self.run_id)

    def last_step(self) -> int:
        """Return the greatest step of the checkpoints with files, -1 if there is none."""
        outputs = self.run().outputs
        steps: list[int] = [output.step for output in outputs.model_outputs] if outputs else []
        return max(steps, default=-1)

    def model(self, model_id: str) -> LoggedModel | None:
        """Return a model, None if it is not ready."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_logged_model(model_id)
        except MlflowException:
            return None  # it was deleted
        return found if found.status.value == "READY" else None

    def download(self, model_id: str) -> Path:
        """Fetch a model's files from where only MLflow's client can."""
        from mlflow.artifacts import download_artifacts

        folder = private_folder(self.root) / "downloads" / model_id
        folder.mkdir(parents=True, exist_ok=True)
        uri = f"models:/{model_id}"
        found = download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self._uri)
        return Path(found)

    def log_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        found = [Param(name, value) for name, value in params.items()]
        self.client.log_batch(self.run_id, params=found, synchronous=True)

    def start(self, is_recorded: bool) -> None:
        """Go on with the run in this thread; capture records it if `is_recorded`."""
        import mlflow
        from mlflow.tracking.context import registry

        session = registry.resolve_tags().get(SESSION_TAG) if is_recorded else None
        is_here = self.is_local and local_path(self.run().info.artifact_uri)
        tags = {SESSION_TAG: session} if session and is_here else None
        mlflow.start_run(run_id=self.run_id, tags=tags)

    def end(self, status: str) -> None:
        """End the run, which another thread may have started."""
        import mlflow

        active = mlflow.active_run()
        if active and active.info.run_id == self.run_id:
            mlflow.end_run(status)
        else:
            self.client.set_terminated(self.run_id, status)

    def new_model(self, path: str, step: int) -> tuple[str, Path | None]:
        """Return the id of a new model, and its folder if it is one of here."""
        from mlflow.entities import LoggedModelOutput

        model = self.client.create_logged_model(
            self._experiment_id, _name(path), source_run_id=self.run_id, model_type=CHECKPOINT
        )
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step)])
        return model.model_id, _folder(model.artifact_location)

    def begin(self, model_id: str, path: str, step: int) -> None:
        """Have the model in the store, not ready, before its files are; a client's is already."""

    def upload(self, model_id: str, folder: Path) -> None:
        """Put files where only MLflow's client can."""
        self.client.log_model_artifacts(model_id, str(folder))

    def give_up(self, model_id: str, folder: Path | None) -> None:
        """Take back a model whose files could not be kept, if that is possible now."""
        with contextlib.suppress(CheckpointFailed, StoreError), self.failing("not taken back"):
            if self._drop(model_id) and folder:
                shutil.rmtree(folder.parent, ignore_errors=True)

    def _drop(self, model_id: str) -> bool:
        """Remove a model unless it is ready; say whether it is gone."""
        is_ready = self.model(model_id) is not None
        if not is_ready:
            self.client.delete_logged_model(model_id)
        return not is_ready

    def log(
        self,
        step: int,
        metrics: Mapping[str, float],
        primary: PrimaryMetric | None,
        model_id: str | None = None,
    ) -> None:
        """Log metrics, durable when this returns; a model, whose files are there, is ready."""
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        points = [
            Metric(name, value, now_ms, step, model_id=model_id, run_id=self.run_id)
            for name, value in metrics.items()
        ]
        self.client.log_batch(self.run_id, points, synchronous=True)
        if model_id:
            self.client.finalize_logged_model(model_id, "READY")
        best = best_of(step, metrics, primary, model_id)
        if best and primary and is_better(best["value"], self._best, primary.goal):
            self.name_best(best)

    def name_primary(self, primary: PrimaryMetric) -> None:
        self.say(PRIMARY_TAG, str(primary))

    def name_best(self, best: Mapping[str, Any]) -> None:
        """Say which is the best value so far: value, step, model_id."""
        self.say(BEST_TAG, json.dumps(best))
        self._best = best["value"]

    def say(self, tag: str, value: str) -> None:
        self.client.set_tag(self.run_id, tag, value, synchronous=True)

    def know_best(self, value: float | None) -> None:
        """Say which value the run has as its best already."""
        self._best = value


class LocalPublisher(Publisher):
    """Speaks of one run in an SQLite file, of which MLflow is told by its own tables."""

    def __init__(self, run: Run, uri: str, database: Path) -> None:
        from mlflow.utils.uri import append_to_uri_path

        super().__init__(run, uri, database.parent, is_local=True)
        self._log = Log(database, self.run_id)
        experiment = self.client.get_experiment(self._experiment_id)
        home = experiment.artifact_location.replace("{", "{{").replace("}", "}}")
        self._location: str = append_to_uri_path(home, "models", "{}", "artifacts")

    def last_step(self) -> int:
        step = self._log.last_step()
        return -1 if step is None else step

    def new_model(self, path: str, step: int) -> tuple[str, Path | None]:
        model_id = f"m-{uuid.uuid4().hex}"
        return model_id, _folder(self._location.format(model_id))

    def begin(self, model_id: str, path: str, step: int) -> None:
        self._log.begin(model_id, _name(path), step, self._location.format(model_id))

    def _drop(self, model_id: str) -> bool:
        return self._log.drop(model_id)

    def log(
        self,
        step: int,
        metrics: Mapping[str, float],
        primary: PrimaryMetric | None,
        model_id: str | None = None,
    ) -> None:
        self._log.log(step, metrics, primary, model_id)

    def name_primary(self, primary: PrimaryMetric) -> None:
        self._log.name_primary(primary)


def _name(path: str) -> str:
    text = Path(path).stem.encode(errors="replace").decode()  # a name need not be UTF-8
    return NOT_IN_NAMES.sub("_", text) or CHECKPOINT


def _folder(location: str) -> Path | None:
    path = local_path(location)
    return Path(path).absolute() if path else None
