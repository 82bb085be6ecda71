"""What tracking costs and where it goes: python -m bench.tracking [RUNS]"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.side_by_side import side_by_side

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = "30"
TIMED = (
    *("set_experiment", "start_run", "log_params", "log_dict", "log_figure", "set_tag"),
    *("end_run", "keras.autolog", "keras.log_model"),
)


def main() -> None:
    if "--phases" in sys.argv:
        phases()
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = folder
        commands = [
            [sys.executable, script, "--epochs", EPOCHS]
            for script in ("train_mlflow.py", "train.py")
        ]
        print("train_mlflow.py, against train.py:")
        print(" ", side_by_side(commands[0], commands[1], ROOT, runs, environ))
        command = [sys.executable, "-m", "bench.tracking", "--phases"]
        os.execve(command[0], command, environ)


def phases() -> None:
    """Run train_mlflow.py once here, with its calls of MLflow timed."""
    spent_s: dict[str, float] = defaultdict(float)
    import train

    train.prepare(train.configure([]))
    timed(spent_s, "import keras", lambda: __import__("keras"))
    config = train.configure(["--epochs", EPOCHS])
    timed(spent_s, "train, the first time", lambda: train.train(config))
    timed(spent_s, "train, again", lambda: train.train(config))
    timed(spent_s, "import mlflow", lambda: __import__("mlflow.keras"))
    import mlflow

    for name in TIMED:
        owner, _, attribute = name.rpartition(".")
        where = getattr(mlflow, owner) if owner else mlflow
        setattr(where, attribute, wrapped(spent_s, name, getattr(where, attribute)))
    train.train = wrapped(spent_s, "train with autolog", train.train)
    import train_mlflow

    sys.argv = ["train_mlflow.py", "--epochs", EPOCHS]
    began = time.perf_counter()
    train_mlflow.main()
    spent_s["main, whole"] = time.perf_counter() - began
    for name, seconds in spent_s.items():
        print(f"  {seconds:7.3f} s  {name}")


def timed(spent_s: dict[str, float], name: str, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    try:
        return call()
    finally:
        spent_s[name] += time.perf_counter() - began


def wrapped(spent_s: dict[str, float], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: timed(spent_s, name, lambda: call(*args, **kwargs))


if __name__ == "__main__":
    main()
