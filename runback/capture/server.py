"""Runs behind MLflow's client: a tracking server, another database, an old file store.

The client's entities are put into the shape of MLflow's tables, so that a record is
the same wherever its run was logged.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from runback.capture.source import Glimpse
from runback.record import metrics
from runback.store.tags import SESSION_TAG

if TYPE_CHECKING:
    from pathlib import Path

    from runback.record.state import Row, Rows


class Server:
    """A store that only MLflow's client can read; slowly, so it is asked seldom."""

    beat_s = 15.0
    root: Path | None = None

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        self._client = MlflowClient(tracking_uri=uri)

    def runs(self, session: str) -> list[str]:
        experiments = [e.experiment_id for e in self._client.search_experiments()]
        wanted = f"tags.`{SESSION_TAG}` = '{session}'"
        found = self._client.search_runs(experiments, filter_string=wanted)
        return [run.info.run_id for run in found]

    def read(self, run_id: str, after: int) -> Glimpse:
        run = self._client.get_run(run_id)
        points = [
            metrics.point(metric.key, metric.value, metric.timestamp, metric.step)
            for key in run.data.metrics
            for metric in self._client.get_metric_history(run_id, key)
        ]
        points.sort(key=lambda point: (point.timestamp, point.step))
        return Glimpse(self._rows(run), points[after:], len(points))

    def end(self, run_id: str, status: str) -> None:
        if self._client.get_run(run_id).info.status == "RUNNING":
            self._client.set_terminated(run_id, status)

    def upload(self, run_id: str, folder: Path) -> None:
        """Put the files of a record into the run's artifacts."""
        self._client.log_artifacts(run_id, str(folder), folder.name)

    def _rows(self, run: Any) -> Rows:
        info, experiment_id = run.info, int(run.info.experiment_id)
        experiment = self._client.get_experiment(info.experiment_id)
        rows: Rows = {
            "experiments": [_experiment(experiment)],
            "experiment_tags": [
                {"key": key, "value": value, "experiment_id": experiment_id}
                for key, value in experiment.tags.items()
            ],
            "runs": [_run(info)],
            "params": _pairs(run.data.params, run_uuid=info.run_id),
            "tags": _pairs(run.data.tags, run_uuid=info.run_id),
        }
        _add_datasets(rows, run)
        self._add_models(rows, run)
        return rows

    def _add_models(self, rows: Rows, run: Any) -> None:
        from mlflow.exceptions import MlflowException

        run_id, experiment_id = run.info.run_id, run.info.experiment_id
        outputs = run.outputs.model_outputs if run.outputs else []
        for output in outputs:
            ends = ("RUN_OUTPUT", run_id, "MODEL_OUTPUT", output.model_id)
            rows.setdefault("inputs", []).append(_link(*ends, step=output.step))
        try:
            models = self._client.search_logged_models(
                [experiment_id], filter_string=f"source_run_id = '{run_id}'"
            )
        except MlflowException:  # a server older than MLflow 3 has none
            return
        for model in models:
            _add_model(rows, model, run_id)


def _experiment(experiment: Any) -> Row:
    return {
        "experiment_id": int(experiment.experiment_id),
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "creation_time": experiment.creation_time,
        "last_update_time": experiment.last_update_time,
    }


def _run(info: Any) -> Row:
    return {
        "run_uuid": info.run_id,
        "name": info.run_name,
        "source_type": "UNKNOWN",
        "user_id": info.user_id,
        "status": info.status,
        "start_time": info.start_time,
        "end_time": info.end_time,
        "lifecycle_stage": info.lifecycle_stage,
        "artifact_uri": info.artifact_uri,
        "experiment_id": int(info.experiment_id),
    }


def _pairs(pairs: dict[str, str], **owner: str) -> list[Row]:
    return [{"key": key, "value": value, **owner} for key, value in pairs.items()]


def _uuid(*parts: str) -> str:
    """Return an id for a row whose own the client does not tell; the same at each reading."""
    return uuid.uuid5(uuid.NAMESPACE_OID, "\0".join(parts)).hex


def _link(source_type: str, source: str, target_type: str, target: str, step: int = 0) -> Row:
    return {
        "input_uuid": _uuid(source_type, source, target_type, target),
        "source_type": source_type,
        "source_id": source,
        "destination_type": target_type,
        "destination_id": target,
        "step": step,
    }


def _add_datasets(rows: Rows, run: Any) -> None:
    for entry in run.inputs.dataset_inputs if run.inputs else []:
        data, experiment_id = entry.dataset, run.info.experiment_id
        dataset_id = _uuid(experiment_id, data.name, data.digest)
        rows.setdefault("datasets", []).append(
            {
                "dataset_uuid": dataset_id,
                "experiment_id": int(experiment_id),
                "name": data.name,
                "digest": data.digest,
                "dataset_source_type": data.source_type,
                "dataset_source": data.source,
                "dataset_schema": data.schema,
                "dataset_profile": data.profile,
            }
        )
        link = _link("DATASET", dataset_id, "RUN", run.info.run_id)
        rows.setdefault("inputs", []).append(link)
        rows.setdefault("input_tags", []).extend(
            {"input_uuid": link["input_uuid"], "name": tag.key, "value": tag.value}
            for tag in entry.tags
        )


def _add_model(rows: Rows, model: Any, run_id: str) -> None:
    home = {"model_id": model.model_id, "experiment_id": int(model.experiment_id)}
    rows.setdefault("logged_models", []).append(
        {
            **home,
            "name": model.name,
            "artifact_location": model.artifact_location,
            "creation_timestamp_ms": model.creation_timestamp,
            "last_updated_timestamp_ms": model.last_updated_timestamp,
            "status": model.status.to_int(),
            "lifecycle_stage": "active",
            "model_type": model.model_type,
            "source_run_id": run_id,
            "status_message": model.status_message,
        }
    )
    for kind, pairs in (("param", model.params or {}), ("tag", model.tags or {})):
        rows.setdefault(f"logged_model_{kind}s", []).extend(
            {**home, f"{kind}_key": key, f"{kind}_value": value} for key, value in pairs.items()
        )
    rows.setdefault("logged_model_metrics", []).extend(
        {
            **home,
            "metric_name": metric.key,
            "metric_timestamp_ms": metric.timestamp,
            "metric_step": metric.step,
            "metric_value": metric.value,
            "run_id": metric.run_id or run_id,
            "dataset_name": metric.dataset_name,
            "dataset_digest": metric.dataset_digest,
        }
        for metric in model.metrics or ()
    )
