"""A training that times itself: bench.capture copies this file into the projects that it makes.

python train.py start|log|model; prints one JSON object a line. It is a copy, since capture
takes the code of the project in which the script lies.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

RECORD = ("manifest.json", "code.tar.gz", "run.json")
WORK = 4_000_000


def start() -> dict[str, float]:
    """Time the import, a run's start, and what comes right after it."""
    began = time.perf_counter()
    import mlflow

    imported = time.perf_counter()
    mlflow.set_experiment("bench")
    ready, ready_cpu = time.perf_counter(), time.thread_time()
    mlflow.start_run()
    started, started_cpu = time.perf_counter(), time.thread_time()
    work()
    worked = time.perf_counter()
    found = {
        "import_s": imported - began,
        "start_run_s": started - ready,
        "start_run_cpu_s": started_cpu - ready_cpu,
        "work_s": worked - started,
    }
    if os.environ["RUNBACK_RECORD"] != "0":
        found["complete_s"] = complete(mlflow.get_artifact_uri()) - time.time()
        found["complete_s"] += time.perf_counter() - ready
    found["ending_s"] = time.time()
    mlflow.end_run()
    return found


def work() -> None:
    """Keep the interpreter busy, as a training's own Python does, for a fixed number of steps."""
    total = 0
    for number in range(WORK):
        total += number & 3


def complete(artifacts: str) -> float:
    """Wait for the record of the start; return when it was whole (time.time())."""
    record = Path(artifacts, "runback")
    while not all((record / name).exists() for name in RECORD):
        time.sleep(0.002)
    return max((record / name).stat().st_mtime for name in RECORD)


def log() -> None:
    """Log metrics in blocks, one for each line of standard input that says how many calls."""
    import mlflow

    mlflow.set_experiment("bench")
    with mlflow.start_run():
        step = 0
        for line in sys.stdin:
            began, began_cpu = time.perf_counter(), time.process_time()
            for step in range(step, step + int(line)):  # noqa: B020
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
            step += 1
            taken_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
            say({"wall_s": taken_s, "cpu_s": cpu_s})


def model() -> None:
    """Log what a usual run does, and a model of 10 MB."""
    import mlflow
    import numpy as np

    mlflow.set_experiment("bench")
    path = Path("model.bin")
    path.write_bytes(np.random.default_rng(0).bytes(10_000_000))
    with mlflow.start_run() as run:
        mlflow.log_params({f"param_{number}": number / 7 for number in range(20)})
        for step in range(10):
            mlflow.log_metrics({f"metric_{n}": n / (step + 1) for n in range(20)}, step=step)
        mlflow.log_artifact(str(path))
    path.unlink()
    say({"artifacts": run.info.artifact_uri})


def say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    {"start": lambda: say(start()), "log": log, "model": model}[sys.argv[1]]()
