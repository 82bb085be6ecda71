"""Records as capture leaves them, made without MLflow, and stores to index them in."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runback.capture import snapshot
from runback.capture.snapshot import CodeFile
from runback.record import files, manifest, metrics, state
from runback.record.metrics import Point
from runback.record.state import State
from runback.store.index import index
from runback.store.report import Report

STORE = "gpuserver-1a2b3c4d"
_numbers = itertools.count(1)


def new_id() -> str:
    return f"{next(_numbers):032x}"


def run_of(record: Path) -> str:
    """Return the id of the run whose record this is."""
    return record.parent.parent.name


def make_record(
    mlruns: Path,
    run_id: str = "",
    points: Iterable[Point] = (Point("loss", 0.5, 1_700_000_000_000, 0, False),),
    experiment: str = "digits",
    experiment_id: int = 1,
    status: str = "FINISHED",
    rows: dict[str, Any] | None = None,
    store: str = STORE,
) -> Path:
    """Write the record of a run; return its folder."""
    run_id = run_id or new_id()
    record = files.folder_of(mlruns / str(experiment_id) / run_id / "artifacts")
    record.mkdir(parents=True)
    content = {
        "experiments": [
            {
                "experiment_id": experiment_id,
                "name": experiment,
                "artifact_location": f"/home/ada/mlruns/{experiment_id}",
                "lifecycle_stage": "active",
                "creation_time": 1,
                "last_update_time": 1,
            }
        ],
        "runs": [
            {
                "run_uuid": run_id,
                "name": f"run {run_id[-4:]}",
                "source_type": "UNKNOWN",
                "user_id": "ada",
                "status": status,
                "start_time": 1_700_000_000_000,
                "end_time": 1_700_000_100_000 if status != "RUNNING" else None,
                "lifecycle_stage": "active",
                "artifact_uri": f"/home/ada/mlruns/{experiment_id}/{run_id}/artifacts",
                "experiment_id": experiment_id,
                "deleted_time": None,
            }
        ],
        "params": [{"key": "lr", "value": "0.1", "run_uuid": run_id}],
        "tags": [{"key": "phase", "value": "one", "run_uuid": run_id}],
        **(rows or {}),
    }
    state.write(record, State(run_id, content))
    metrics.append(record / files.METRICS, points)
    made = manifest.new(run_id, store, {"recorded_by": "capture"}, [])
    if status == "RUNNING":
        files.write_json(record / files.MANIFEST, made)
    else:
        manifest.finish(record, made, {}, {})
    return record


def add_code(
    record: Path,
    code: Mapping[str, bytes | str | CodeFile],
    left_out: dict[str, str] | None = None,
    **parts: Any,
) -> None:
    """Put code into a record, a str being a link's target, and parts into its manifest."""
    made = {
        name: CodeFile(given) if isinstance(given, bytes) else CodeFile(b"", link=given)
        for name, given in code.items()
        if not isinstance(given, CodeFile)
    }
    made |= {name: given for name, given in code.items() if isinstance(given, CodeFile)}
    taken = snapshot.Snapshot(made, left_out or {}, None)
    with (record / files.CODE).open("wb") as file:
        snapshot.write_archive(taken, file)
    about = {"code": snapshot.describe(taken, Path("/home/ada/digits")), **parts}
    known = manifest.read(record, run_of(record))
    artifacts = manifest.digests(record.parent)
    manifest.finish(record, {**known, **about}, artifacts, known["models"])


def make_store(folder: Path, template: Path) -> Path:
    """Return the folder of a store of its own with the empty database `template`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, folder / "mlflow.db")
    return folder


def run_index(root: Path, dry_run: bool = False) -> Report:
    return index(root, lambda message: None, dry_run)


def dump(database: Path) -> dict[str, list[str]]:
    """Return every row of MLflow's tables, as text, sorted."""
    connection = sqlite3.connect(database)
    names = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(("runback_", "alembic_", "sqlite_"))
    ]
    found = {n: sorted(map(repr, connection.execute(f"SELECT * FROM {n}"))) for n in names}
    connection.close()
    return {name: rows for name, rows in found.items() if rows}


def query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        with connection:
            return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def is_sound(database: Path) -> bool:
    return query(database, "PRAGMA integrity_check") == [("ok",)] and not query(
        database, "PRAGMA foreign_key_check"
    )
