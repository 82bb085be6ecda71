"""A script that logs one of everything that MLflow's tables hold of a run."""

from __future__ import annotations

import math
import sys

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric


class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context: object, model_input: list[str]) -> list[str]:
        return model_input


def main() -> None:
    client = MlflowClient()
    mlflow.set_experiment("everything ☃")
    mlflow.set_experiment_tag("owner", "ada")
    with mlflow.start_run(run_name="parent", description="a note") as run:
        print("hello from the run")
        print("10%\r20%\r100% done")
        print("to stderr", file=sys.stderr)
        mlflow.log_params({"lr": 0.1, "long": "x" * 3000, "quote": "'; DROP TABLE runs; --"})
        for step, value in enumerate([0.5, math.nan, math.inf, -math.inf, 5e-324, -0.0]):
            mlflow.log_metric("loss", value, step=step)
        data = mlflow.data.from_pandas(pd.DataFrame({"x": [1.5, 2.0]}), name="d", targets=None)
        mlflow.log_input(data, context="training", tags={"part": "train"})
        mlflow.log_text("text", "notes/readme é.txt")
        info = mlflow.pyfunc.log_model(
            name="model", python_model=Model(), pip_requirements=["mlflow"], params={"depth": 3}
        )
        mlflow.log_metric("accuracy", 0.9, model_id=info.model_id, dataset=data)
        version = mlflow.register_model(info.model_uri, "best")
        client.set_registered_model_alias("best", "champion", version.version)
        client.set_model_version_tag("best", version.version, "tested", "yes")
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("loss", 1)
        with mlflow.start_span("step") as span:
            span.set_inputs({"x": 1})
    mlflow.flush_trace_async_logging()
    with mlflow.start_run(run_name="deleted") as other:
        mlflow.set_tag("phase", "gone")
    client.delete_run(other.info.run_id)
    bare = client.create_run(run.info.experiment_id, run_name="bare client")
    client.log_batch(bare.info.run_id, metrics=[Metric("m", 1.0, 1, 1)])
    client.set_terminated(bare.info.run_id, "FAILED")


if __name__ == "__main__":
    main()
