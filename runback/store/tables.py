"""Which rows of MLflow's tables are a run's.

`metrics` is kept as lines of its own (record/metrics.py), and `latest_metrics`
follows from it. Server features (jobs, gateways, webhooks, reviews) are no part of a run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """name: MLflow's. where: SQL, which of its rows are the run `:run`'s. key: its primary key."""

    name: str
    where: str
    key: tuple[str, ...]


_RUN = "run_uuid = :run"
_EXPERIMENT = "experiment_id = (SELECT experiment_id FROM runs WHERE run_uuid = :run)"
# What goes into the run (DATASET -> RUN, a model it used) and what came out of it.
_INPUTS = (
    "((destination_type = 'RUN' AND destination_id = :run)"
    " OR (source_type IN ('RUN', 'RUN_INPUT', 'RUN_OUTPUT') AND source_id = :run))"
)
_MODELS = "model_id IN (SELECT model_id FROM logged_models WHERE source_run_id = :run)"
_TRACES = (
    "{} IN (SELECT request_id FROM trace_request_metadata"
    " WHERE key = 'mlflow.sourceRun' AND value = :run)"
)
_VERSIONS = "(name, version) IN (SELECT name, version FROM model_versions WHERE run_id = :run)"
_NAMES = "name IN (SELECT name FROM model_versions WHERE run_id = :run)"

# In the order in which they can be inserted.
TABLES = (
    Table("experiments", _EXPERIMENT, ("experiment_id",)),
    Table("experiment_tags", _EXPERIMENT, ("key", "experiment_id")),
    Table("runs", _RUN, ("run_uuid",)),
    Table("params", _RUN, ("key", "run_uuid")),
    Table("tags", _RUN, ("key", "run_uuid")),
    Table(
        "datasets",
        "dataset_uuid IN (SELECT source_id FROM inputs WHERE source_type = 'DATASET'"
        " AND destination_type = 'RUN' AND destination_id = :run)",
        ("experiment_id", "name", "digest"),
    ),
    Table("inputs", _INPUTS, ("source_type", "source_id", "destination_type", "destination_id")),
    Table(
        "input_tags",
        f"input_uuid IN (SELECT input_uuid FROM inputs WHERE {_INPUTS})",
        ("input_uuid", "name"),
    ),
    Table("logged_models", "source_run_id = :run", ("model_id",)),
    Table("logged_model_params", _MODELS, ("model_id", "param_key")),
    Table("logged_model_tags", _MODELS, ("model_id", "tag_key")),
    Table(
        "logged_model_metrics",
        "run_id = :run",
        ("model_id", "metric_name", "metric_timestamp_ms", "metric_step", "run_id"),
    ),
    Table("registered_models", _NAMES, ("workspace", "name")),
    Table("registered_model_tags", _NAMES, ("workspace", "key", "name")),
    Table("model_versions", "run_id = :run", ("workspace", "name", "version")),
    Table("model_version_tags", _VERSIONS, ("workspace", "key", "name", "version")),
    Table("registered_model_aliases", _VERSIONS, ("workspace", "name", "alias")),
    Table("trace_info", _TRACES.format("request_id"), ("request_id",)),
    Table("trace_tags", _TRACES.format("request_id"), ("key", "request_id")),
    Table("trace_request_metadata", _TRACES.format("request_id"), ("key", "request_id")),
    Table("trace_metrics", _TRACES.format("request_id"), ("request_id", "key")),
    Table("spans", _TRACES.format("trace_id"), ("trace_id", "span_id")),
    Table("span_metrics", _TRACES.format("trace_id"), ("trace_id", "span_id", "key")),
    Table("assessments", _TRACES.format("trace_id"), ("assessment_id",)),
    Table(
        "entity_associations",
        "((source_type = 'run' AND source_id = :run)"
        " OR (destination_type = 'run' AND destination_id = :run))",
        ("source_type", "source_id", "destination_type", "destination_id"),
    ),
)

KEYS = {table.name: table.key for table in TABLES}
