"""Tell MLflow of checkpoints: first what nobody relies on, and last that they are there."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture.sources import sqlite_file
from runback.errors import CheckpointFailed
from runback.store.best import keep_best, last_step
from runback.store.identity import private_folder
from runback.store.places import local_path
from runback.store.tags import BEST_TAG, PRIMARY_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from mlflow.entities import LoggedModel, Run

    from runback.record.checkpoint import PrimaryMetric

CHECKPOINT = "checkpoint"
# MLflow takes none of these in a model's name.
NOT_IN_NAMES = re.compile(r"[/:.%\"']")


@contextmanager
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


class Publisher:
    """Speaks to MLflow of one run.

    database: the SQLite file of the store, None of a server. root: the store's
    folder, of a server the project's.
    """

    def __init__(self, run: Run, project: Path) -> None:
        import mlflow

        self.run_id: str = run.info.run_id
        self._experiment_id = run.info.experiment_id
        self._uri = mlflow.get_tracking_uri()
        self.client = mlflow.MlflowClient(self._uri)
        self.database = sqlite_file(self._uri)
        self.root = self.database.parent if self.database else project

    def failing(self, what: str) -> AbstractContextManager[None]:
        return failing(what, self.root)

    def run(self) -> Run:
        """Return the run as it is now."""
        return self.client.get_run(self.run_id)

    def last_step(self) -> int:
        """Return the greatest step of the run, -1 if it has none.

        Of a server only checkpoints with files count: it does not tell the steps of others.
        """
        outputs = self.run().outputs
        steps: list[int] = [output.step for output in outputs.model_outputs] if outputs else []
        of_metrics = last_step(self.database, self.run_id) if self.database else None
        return max([-1, *steps, -1 if of_metrics is None else of_metrics])

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

    def end(self, status: str) -> None:
        """End the run, which another thread may have started."""
        import mlflow

        active = mlflow.active_run()
        if active and active.info.run_id == self.run_id:
            mlflow.end_run(status)
        else:
            self.client.set_terminated(self.run_id, status)

    def begin(self, path: str, step: int) -> tuple[str, Path | None]:
        """Make a model that is not ready; return its id, and its folder if it is one of here."""
        from mlflow.entities import LoggedModelOutput

        name = NOT_IN_NAMES.sub("_", Path(path).stem) or CHECKPOINT
        model = self.client.create_logged_model(
            self._experiment_id, name, source_run_id=self.run_id, model_type=CHECKPOINT
        )
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step)])
        folder = local_path(model.artifact_location)
        return model.model_id, Path(folder).absolute() if folder else None

    def finish(self, model_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics, and say that the model is ready: its files are."""
        self.log(step, metrics, model_id)
        self.client.finalize_logged_model(model_id, "READY")

    def upload(self, model_id: str, folder: Path) -> None:
        """Put files where only MLflow's client can."""
        self.client.log_model_artifacts(model_id, str(folder))

    def give_up(self, model_id: str) -> None:
        """Take back a model whose files could not be kept."""
        self.client.delete_logged_model(model_id)

    def log(self, step: int, metrics: Mapping[str, float], model_id: str | None = None) -> None:
        """Log metrics at a step, durable when this returns."""
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        points = [
            Metric(name, value, now_ms, step, model_id=model_id, run_id=self.run_id)
            for name, value in metrics.items()
        ]
        if points:
            self.client.log_batch(self.run_id, points, synchronous=True)

    def name_primary(self, primary: PrimaryMetric) -> None:
        self.client.set_tag(self.run_id, PRIMARY_TAG, str(primary), synchronous=True)

    def keep_best(self, best: dict[str, Any], goal: str) -> None:
        """Say what is the best value so far, unless another process of the run has a better one."""
        if self.database:
            keep_best(self.database, self.run_id, best, goal)
        else:
            self.client.set_tag(self.run_id, BEST_TAG, json.dumps(best), synchronous=True)
