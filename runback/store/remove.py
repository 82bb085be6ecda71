"""Delete runs as MLflow does, restore them, or remove them and their models for good."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.errors import NoSuchRun
from runback.store import running, trash
from runback.store.alive import Life, lives
from runback.store.errors import RegisteredModels, RunGoesOn
from runback.store.listing import ACTIVE, DELETED, with_ids
from runback.store.places import local_path
from runback.store.schema import columns
from runback.store.tables import TABLES
from runback.store.writable import transaction, writable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from runback.store.listing import Listed
    from runback.store.writable import Waiting

    # A run or model, and the registered name and version number that was made from it.
    Version = tuple[str, str, int]

# Other runs have a part in these.
_SHARED = ("experiments", "experiment_tags", "registered_models", "registered_model_tags")
# What is the run's besides, or of its models: (table, where).
_MORE = (
    ("metrics", "run_uuid = :run"),
    ("latest_metrics", "run_uuid = :run"),
    (
        "logged_model_metrics",
        "model_id IN (SELECT model_id FROM logged_models WHERE source_run_id = :run)",
    ),
)
_ITEMS = """
SELECT run_uuid, artifact_uri FROM runs WHERE run_uuid = :run
UNION ALL SELECT model_id, artifact_location FROM logged_models WHERE source_run_id = :run
UNION ALL SELECT request_id, value FROM trace_tags WHERE key = 'mlflow.artifactLocation'
 AND request_id IN (SELECT request_id FROM trace_request_metadata
  WHERE key = 'mlflow.sourceRun' AND value = :run)
"""
_OF_A_MODEL = (
    (
        "input_tags",
        "input_uuid IN (SELECT input_uuid FROM inputs WHERE source_id = :run"
        " AND destination_type = 'MODEL_OUTPUT' AND destination_id = :model)",
    ),
    (
        "inputs",
        "source_id = :run AND destination_type = 'MODEL_OUTPUT' AND destination_id = :model",
    ),
    ("logged_model_metrics", "model_id = :model"),
    ("logged_model_params", "model_id = :model"),
    ("logged_model_tags", "model_id = :model"),
    ("logged_models", "model_id = :model"),
)


@dataclass(frozen=True)
class Removed:
    """A run that goes or went. nested: ids of the runs in it, which stay.

    was: its stage before, ACTIVE or DELETED. models: how many. folders: with its files, by
    the id of what is in them. elsewhere: where files of it are that stay.
    """

    run_id: str
    name: str
    was: str
    nested: list[str]
    models: int = 0
    folders: dict[str, Path] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


def mark(
    root: Path,
    run_ids: Sequence[str],
    stage: str,
    force: bool = False,
    waiting: Waiting | None = None,
) -> list[Removed]:
    """Put runs into the stage DELETED or ACTIVE, all or none.

    Raises RunGoesOn if one is to be deleted that a process here records; without `force`
    also if another machine may. Raises NoSuchRun, StoreError.
    """
    with writable(root, waiting) as memory, transaction(memory.connection):
        found = _listed(memory.connection, root, run_ids)
        if stage == DELETED:
            _refuse_running(memory.connection, root, found, force)
        now_ms = time.time_ns() // 1_000_000 if stage == DELETED else None
        memory.connection.executemany(
            "UPDATE runs SET lifecycle_stage = ?, deleted_time = ?"
            " WHERE run_uuid = ? AND lifecycle_stage <> ?",
            [(stage, now_ms, run.run_id, stage) for run in found],
        )
        nested = _nested(memory.connection, run_ids)
        return [Removed(run.run_id, run.name, run.stage, nested[run.run_id]) for run in found]


def doomed(
    connection: sqlite3.Connection, root: Path, run_ids: Sequence[str], force: bool = False
) -> list[Removed]:
    """Return what `purge` would remove. Raises RunGoesOn, RegisteredModels, NoSuchRun."""
    found = _listed(connection, root, run_ids)
    _refuse_running(connection, root, found, force)
    nested = _nested(connection, run_ids)
    runs = [_doomed(connection, run, nested[run.run_id]) for run in found]
    used = sorted({(name, number) for run in runs for _, name, number in _used(connection, run)})
    if used and not force:
        versions = [f"{name} version {number}" for name, number in used]
        raise RegisteredModels(versions, [run.run_id for run in runs])
    return runs


def purge(
    root: Path, run_ids: Sequence[str], force: bool = False, waiting: Waiting | None = None
) -> tuple[list[Removed], dict[str, str]]:
    """Remove runs, their models and files for good; return them, and what could not be removed.

    First, in one transaction, from MLflow's tables, then from the disk. The next index
    lists none of them again, should their files come back. Raises as `doomed` does.
    """
    with writable(root, waiting) as memory:
        with transaction(memory.connection):
            runs = doomed(memory.connection, root, run_ids, force)
            memory.prepare()
            memory.bury(run_ids)
            with memory.shrinking():
                for run in runs:
                    _delete_versions(memory.connection, _used(memory.connection, run))
                    _delete_rows(memory.connection, run.run_id)
            folders = {run.run_id: root for run in runs}  # if it has none: its hold goes
            for run in runs:
                folders.update(run.folders)
            trash.add(memory.connection, folders)
        return runs, trash.empty(root, memory.connection)


def finish(root: Path, waiting: Waiting | None = None) -> dict[str, str]:
    """Remove the files of what a killed command removed from the tables; return what stays."""
    with writable(root, waiting) as memory:
        return trash.empty(root, memory.connection)


def delete_models(connection: sqlite3.Connection, run_id: str, model_ids: Iterable[str]) -> None:
    """Delete all rows of models of this run; of another's none."""
    for model_id in model_ids:
        values = {"run": run_id, "model": model_id}
        own = "SELECT 1 FROM logged_models WHERE model_id = :model AND source_run_id = :run"
        for table, where in _OF_A_MODEL if connection.execute(own, values).fetchone() else ():
            connection.execute(f"DELETE FROM {table} WHERE {where}", values)


def registered(connection: sqlite3.Connection, items: Iterable[str]) -> list[Version]:
    """Return the model versions that were made from one of these runs and models."""
    rows = connection.execute(
        "SELECT item.value, name, version FROM json_each(?) AS item JOIN model_versions"
        " ON run_id = item.value OR instr(source, item.value)"
        " OR instr(storage_location, item.value)"
        " WHERE COALESCE(current_stage, '') <> 'Deleted_Internal'",
        [json.dumps(sorted(items))],
    )
    return rows.fetchall()


def _listed(connection: sqlite3.Connection, root: Path, run_ids: Sequence[str]) -> list[Listed]:
    found = with_ids(connection, run_ids)
    for run_id in set(run_ids) - {run.run_id for run in found}:
        count = connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
        raise NoSuchRun(run_id, root, count)
    return found


def _refuse_running(
    connection: sqlite3.Connection, root: Path, runs: Sequence[Listed], force: bool
) -> None:
    alive = lives(connection, root, runs)
    here = [
        run.run_id
        for run in runs
        # Of two processes that record a run, one may have ended it.
        if alive.get(run.run_id) is Life.HERE or running.is_held(root, run.run_id)
    ]
    perhaps = [run_id for run_id, life in alive.items() if life in (Life.AWAY, Life.UNKNOWN)]
    if here or (perhaps and not force):
        raise RunGoesOn(here, [] if force else perhaps)


def _nested(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the active runs that were begun within each of these, but for these."""
    nested: dict[str, list[str]] = {run_id: [] for run_id in run_ids}
    rows = connection.execute(
        "SELECT value, run_uuid FROM tags JOIN runs USING (run_uuid)"
        " WHERE key = 'mlflow.parentRunId' AND value IN (SELECT value FROM json_each(?))"
        " AND lifecycle_stage = ? ORDER BY start_time, runs.rowid",
        [json.dumps(list(run_ids)), ACTIVE],
    )
    for parent, child in rows:
        nested[parent] += [] if child in nested else [child]
    return nested


def _items(connection: sqlite3.Connection, run_id: str) -> dict[str, str]:
    """Return where the artifacts of a run, its models and its traces are, by their ids."""
    rows = connection.execute(_ITEMS, {"run": run_id})
    return {item: uri or "" for item, uri in rows}


def _doomed(connection: sqlite3.Connection, run: Listed, nested: list[str]) -> Removed:
    items = _items(connection, run.run_id)
    found = {item: trash.folder_of(uri, item) for item, uri in items.items()}
    return Removed(
        *(run.run_id, run.name, run.stage, nested),
        models=sum(item.startswith("m-") for item in items),
        folders={item: folder for item, folder in found.items() if folder},
        elsewhere=sorted(uri for uri in items.values() if uri and local_path(uri) is None),
    )


def _used(connection: sqlite3.Connection, run: Removed) -> list[Version]:
    return registered(connection, _items(connection, run.run_id))


def _delete_versions(connection: sqlite3.Connection, versions: list[Version]) -> None:
    for table in ("registered_model_aliases", "model_version_tags", "model_versions"):
        connection.executemany(
            f"DELETE FROM {table} WHERE name = ? AND version = ?", [row[1:] for row in versions]
        )


def _delete_rows(connection: sqlite3.Connection, run_id: str) -> None:
    """Delete the run's rows. All are found before any goes: some are found by others."""
    tables = [(t.name, t.where) for t in reversed(TABLES) if t.name not in _SHARED]
    found = []
    for table, where in (*_MORE, *tables):
        if columns(connection, table):
            sql = f"SELECT json_group_array(rowid) FROM {table} WHERE {where}"
            found.append((table, connection.execute(sql, {"run": run_id}).fetchone()[0]))
    for table, rows in found:
        unused = ""
        if table == "datasets":
            unused = " AND dataset_uuid NOT IN (SELECT source_id FROM inputs)"
        connection.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT value FROM json_each(?)){unused}", [rows]
        )
