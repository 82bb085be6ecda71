"""Make stores to measure with: the same runs as records, and as MLflow's old file store."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import resource
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from bench.side_by_side import seconds_of
from runback.record import files, manifest, metrics, state
from runback.record.metrics import Point
from runback.store.create import create

PARAMS, METRICS, STEPS, TAGS, PACKAGES, CODE_FILES = 20, 20, 10, 6, 250, 50
EXPERIMENTS = 4
BEGAN_MS = 1_790_000_000_000
MINUTE_MS = 60_000
STORE = "gpuserver-1a2b3c4d"
ROOT = Path(__file__).resolve().parents[1]
RUNBACK = (sys.executable, "-m", "runback")


@dataclass(frozen=True)
class Run:
    """A made-up run; the same number makes the same one."""

    number: int

    @property
    def run_id(self) -> str:
        return hashlib.md5(f"run {self.number}".encode()).hexdigest()

    @property
    def experiment_id(self) -> int:
        return self.number % EXPERIMENTS + 1

    @property
    def start_ms(self) -> int:
        return BEGAN_MS + self.number * MINUTE_MS

    @property
    def name(self) -> str:
        return f"run-{self.number}"

    def params(self) -> dict[str, str]:
        return {f"param_{n}": str((self.number + n) / 7) for n in range(PARAMS)}

    def tags(self) -> dict[str, str]:
        return {
            "mlflow.user": "ada",
            "mlflow.source.name": "train.py",
            "mlflow.source.type": "LOCAL",
            "mlflow.runName": self.name,
            "runback.session": self.run_id,
            "model": "convolution",
        }

    def points(self) -> list[Point]:
        values = random.Random(self.number)
        return [
            Point(f"metric_{n}", values.random(), self.start_ms + step * 1000 + n, step, False)
            for step in range(STEPS)
            for n in range(METRICS)
        ]


def write_records(mlruns: Path, numbers: range) -> None:
    """Write the records of runs that another store began."""
    with patch("os.fsync"):  # made once more if the machine dies
        for number in numbers:
            _write_record(mlruns, Run(number))


def _write_record(mlruns: Path, run: Run) -> None:
    artifacts = mlruns / str(run.experiment_id) / run.run_id / "artifacts"
    record = files.folder_of(artifacts)
    record.mkdir(parents=True)
    metrics.append(record / files.METRICS, run.points())
    state.write(record, state.State(run.run_id, _rows(run, artifacts)))
    known = manifest.new(run.run_id, STORE, _captured(run), [])
    manifest.finish(record, known, {}, {})


def _rows(run: Run, artifacts: Path) -> state.Rows:
    own = {"run_uuid": run.run_id}
    return {
        "experiments": [_experiment(run.experiment_id)],
        "runs": [{**own, **_run(run), "artifact_uri": f"/there{artifacts}"}],
        "params": [{"key": k, "value": v, **own} for k, v in run.params().items()],
        "tags": [{"key": k, "value": v, **own} for k, v in run.tags().items()],
    }


def _experiment(experiment_id: int) -> dict[str, Any]:
    return {
        "experiment_id": experiment_id,
        "name": f"experiment-{experiment_id}",
        "artifact_location": f"/there/mlruns/{experiment_id}",
        "lifecycle_stage": "active",
        "creation_time": BEGAN_MS,
        "last_update_time": BEGAN_MS,
        "workspace": "default",
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "user_id": "ada",
        "status": "FINISHED",
        "start_time": run.start_ms,
        "end_time": run.start_ms + MINUTE_MS,
        "source_version": "",
        "lifecycle_stage": "active",
        "experiment_id": run.experiment_id,
        "deleted_time": None,
    }


def _captured(run: Run) -> dict[str, Any]:
    """Return what capture would: as many packages and files of code as a usual project has."""
    packages = {f"package-{n}": f"1.{n}.0 {_digest(n)}" for n in range(PACKAGES)}
    code = {f"src/part_{n % 5}/module_{n}.py": _digest(n) for n in range(CODE_FILES)}
    return {
        "recorded_by": "capture",
        "command": {"argv": ["python", "train.py"], "script": "train.py"},
        "code": {"files": code, "left_out": {}, "digest": _digest(run.number)},
        "environment": {"python": "3.11.7", "packages": packages},
        "machine": {"cores": 2, "gpus": []},
    }


def _digest(number: int) -> str:
    return "sha256:" + hashlib.sha256(str(number).encode()).hexdigest()


def write_file_store(mlruns: Path, numbers: range) -> None:
    """Write the runs as MLflow 2 did by default."""
    for experiment_id in range(1, EXPERIMENTS + 1):
        row = {**_experiment(experiment_id), "experiment_id": str(experiment_id)}
        _write_yaml(mlruns / str(experiment_id), row)
    for number in numbers:
        _write_run_files(mlruns, Run(number))


def _write_run_files(mlruns: Path, run: Run) -> None:
    folder = mlruns / str(run.experiment_id) / run.run_id
    row = {**_run(run), "experiment_id": str(run.experiment_id), "run_name": run.name}
    row |= {"run_id": run.run_id, "run_uuid": run.run_id, "status": 3, "source_type": 4, "tags": []}
    _write_yaml(folder, row | {"artifact_uri": f"file://{folder}/artifacts"})
    lines: dict[str, list[str]] = {}
    for point in run.points():
        lines.setdefault(point.key, []).append(f"{point.timestamp} {point.value!r} {point.step}\n")
    (folder / "artifacts").mkdir()
    _write_values(folder / "metrics", {key: "".join(found) for key, found in lines.items()})
    _write_values(folder / "params", run.params())
    _write_values(folder / "tags", run.tags())


def _write_yaml(folder: Path, row: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_text(yaml.safe_dump(row))


def _write_values(folder: Path, values: dict[str, str]) -> None:
    folder.mkdir()
    for name, value in values.items():
        (folder / name).write_text(value)


@dataclass(frozen=True)
class Spent:
    """What a process took: on the clock, and of the processors."""

    wall_s: float
    cpu_s: float


class Store:
    """A store in a folder of its own, with an empty database to begin from again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.numbers = itertools.count()
        create(root / "mlflow.db", lambda message: None)
        with closing(sqlite3.connect(root / "mlflow.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(root / "mlflow.db", root / "empty.db")

    def add(self, runs: int) -> None:
        for number in itertools.islice(self.numbers, runs):
            write_records(self.root / "mlruns", range(number, number + 1))

    def empty(self) -> None:
        for path in self.root.glob("mlflow.db*"):
            path.unlink()
        shutil.copyfile(self.root / "empty.db", self.root / "mlflow.db")

    def seconds(self, *command: str) -> Spent:
        return spent(command, self.root, environ())

    def index(self) -> Spent:
        return self.seconds(*RUNBACK, "index")


def spent(command: Sequence[str], cwd: Path, variables: dict[str, str]) -> Spent:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall_s = seconds_of(command, cwd, variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def environ() -> dict[str, str]:
    """Return the environment of the processes that are measured."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    kept = {name: value for name, value in os.environ.items() if name[:7] != "MLFLOW_"}
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "MLFLOW_DISABLE_TELEMETRY": "true"}
