"""Trainings for the tests: short scripts in processes of their own, in a store of their own."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import plain_environ
from processes import Started
from records import query

from runback.record import check, files, metrics
from runback.record.metrics import Point
from runback.store.places import scan


@dataclass(frozen=True)
class Store:
    """A folder with mlflow.db and mlruns/, and the trainings that run in it."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    def start(self, code: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start a training; its code is an argument, so that many can start at once."""
        return self._start("-c", code, *arguments, **environ)

    def train(self, code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self._ended(self.start(code, *arguments, **environ))

    def runback(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._ended(self._start("-m", "runback", *words))

    def start_index(self) -> subprocess.Popen[str]:
        return self._start("-m", "runback", "index")

    def index(self) -> dict[str, Any]:
        """Index; return the report."""
        done = self.runback("index", "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def _start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        return Started(
            [sys.executable, *words],
            cwd=self.root,
            env={**self.environ(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _ended(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        try:
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def environ(self) -> dict[str, str]:
        return plain_environ(
            MLFLOW_TRACKING_URI=f"sqlite:///{self.database}",
            _MLFLOW_SERVER_ARTIFACT_ROOT=f"{self.root}/mlruns",
        )

    def runs(self) -> dict[str, str]:
        """Return the status of each run."""
        return dict(query(self.database, "SELECT run_uuid, status FROM runs"))

    def named(self, name: str) -> str:
        """Return the id of the run of this name."""
        found = query(self.database, "SELECT run_uuid FROM runs WHERE name = ?", name)
        ((run_id,),) = found
        return str(run_id)

    def logged(self, run_id: str) -> list[Point]:
        """Return the points of a run that the database has."""
        sql = "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?"
        return [Point(*row) for row in query(self.database, f"{sql} ORDER BY rowid", run_id)]

    def record(self, run_id: str) -> Path:
        return scan(self.root / "mlruns").record(run_id)

    def has(self, run_id: str, name: str) -> bool:
        """Say whether the record of a run has this file."""
        return any(self.root.glob(f"mlruns/*/{run_id}/artifacts/{files.FOLDER}/{name}"))

    def recorded(self, run_id: str) -> list[Point]:
        """Return the points of a run that its record has."""
        path = self.record(run_id) / files.METRICS
        return [p for block in metrics.read(path) for p in block] if path.exists() else []

    def problems(self, run_id: str) -> list[str]:
        places = scan(self.root / "mlruns")
        return list(check.problems(places.record(run_id), run_id, places.artifacts))


def make(root: Path, template: Path) -> Store:
    """Return a store with a copy of the empty database `template`, as `runback index` makes one."""
    root.mkdir(exist_ok=True)
    store = Store(root)
    shutil.copyfile(template, store.database)
    connection = sqlite3.connect(store.database)
    connection.execute("PRAGMA journal_mode=WAL")
    location = str(root / "mlruns" / "0")
    connection.execute("UPDATE experiments SET artifact_location = ?", [location])
    connection.commit()
    connection.close()
    store.index()
    return store


def acknowledged(folder: Path) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Yield runs and the steps and values that MLflow had taken, as their processes noted them."""
    for path in sorted(folder.iterdir()):
        run_id, *lines = path.read_text().split("\n")[:-1] or [""]
        if run_id:
            yield run_id, [(int(step), float(value)) for step, value in map(str.split, lines)]
