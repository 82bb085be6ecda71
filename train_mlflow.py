"""Train as train.py does, tracked by MLflow: python train_mlflow.py [--epochs 20 …]

This file is the whole cost of tracking. Look at the runs with ./run_mlflow_ui.bash
"""

from __future__ import annotations

import dataclasses
import os
import sys

import runback.keras
import train
from runback.terminal import ended
from runback.tracking import tracked_run


def main() -> None:
    config = train.configure(sys.argv[1:])  # bad input ends here, before the slow imports
    train.prepare(config)
    # The run starts before the seeding: MLflow draws its name from Python's generator.
    with tracked_run(train.PROJECT, experiment=config.dataset) as run:
        import mlflow

        # The model is logged below: autolog would spend 6 s on inferring its requirements.
        mlflow.keras.autolog(log_models=False)
        mlflow.log_params(dataclasses.asdict(config))
        callbacks = [runback.keras.LedgerCallback(), runback.keras.SweepCallback()]
        result = train.train(config, callbacks)

        mlflow.log_dict(result.switches, "determinism.json")
        mlflow.log_figure(train.accuracy_figure(result.history), "accuracy.png")
        mlflow.set_tag("weights", result.digest)
        if "DVC_STAGE" in os.environ:  # dvc.yaml names these files
            train.write_outputs(config, result, train.OUTPUTS, run.info.run_id)
        mlflow.keras.log_model(
            result.model,
            name="model",
            step=len(result.history["loss"]) - 1,  # the model takes the metrics of this step
            signature=mlflow.models.infer_signature(result.data.x_val[:1]),
            pip_requirements=str(train.PROJECT / "requirements.txt"),
        )
    print(f"val_accuracy {result.history['val_accuracy'][-1]:.4f}  weights {result.digest[:19]}")
    print(f"run {run.info.run_name} ({run.info.run_id[:8]}) of experiment {config.dataset}")


if __name__ == "__main__":
    sys.exit(ended(main))
