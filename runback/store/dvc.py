"""Tie runs to the DVC experiments that they were made in, by name and by tag."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from runback.dvc import experiments
from runback.store.schema import opened
from runback.store.tags import DVC_BASELINE_TAG, DVC_NAME_TAG, DVC_REV_TAG
from runback.store.writable import transaction

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from runback.dvc.experiments import Experiment

_OF_EXPERIMENT = (
    "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE lifecycle_stage = 'active'"
    " AND tags.key = ? AND tags.value = ? ORDER BY start_time DESC, runs.rowid DESC"
)


def runs_named(connection: sqlite3.Connection, root: Path, text: str) -> dict[str, str]:
    """Return the run of each DVC experiment of this name or commit, with the experiment's name.

    What the experiment's own metrics name, if that is here; or else the newest run that
    was made under its name.
    """
    found = dict[str, str]()
    for experiment in experiments.upon_head(root, experiments.experiments(root, text)):
        if run_id := _run_of(connection, experiment):
            found[run_id] = experiment.name
    if not found:  # it was removed, or lies on another machine
        row = connection.execute(_OF_EXPERIMENT, [DVC_NAME_TAG, text]).fetchone()
        found = {row[0]: text} if row else {}
    return found


def _run_of(connection: sqlite3.Connection, experiment: Experiment) -> str | None:
    sql = "SELECT run_uuid FROM runs WHERE run_uuid = ?"
    if connection.execute(sql, [experiment.run_id]).fetchone():
        return experiment.run_id
    for (run_id,) in connection.execute(_OF_EXPERIMENT, [DVC_NAME_TAG, experiment.name]):
        if _tag(connection, run_id, DVC_BASELINE_TAG) == experiment.baseline_rev:
            return str(run_id)
    return None


def link(root: Path) -> list[str]:
    """Note at each experiment's run which commit it is by now; return the runs where it was new.

    DVC makes the commit when the training has ended. Raises StoreError.
    """
    known = experiments.experiments(root)
    if not known or not (root / "mlflow.db").exists():
        return []
    with opened(root / "mlflow.db") as connection:
        by_run: dict[str, list[Experiment]] = defaultdict(list)
        for experiment in known:
            if run_id := _run_of(connection, experiment):
                by_run[run_id].append(experiment)
        rows = [row for run, found in by_run.items() if (row := _row(connection, run, found))]
        with transaction(connection):
            sql = "INSERT OR REPLACE INTO tags (run_uuid, key, value) VALUES (?, ?, ?)"
            connection.executemany(sql, rows)
    return [run_id for run_id, _, _ in rows]


def _row(
    connection: sqlite3.Connection, run_id: str, found: list[Experiment]
) -> tuple[str, str, str] | None:
    """Return the tag's row, None if it is there; of several, the experiment that trained.

    The others had the same inputs: DVC took the result from its run cache.
    """
    own = _tag(connection, run_id, DVC_NAME_TAG)
    experiment = next((e for e in found if e.name == own), found[0])
    if own is None or _tag(connection, run_id, DVC_REV_TAG) == experiment.rev:
        return None
    return run_id, DVC_REV_TAG, experiment.rev


def _tag(connection: sqlite3.Connection, run_id: str, key: str) -> str | None:
    sql = "SELECT value FROM tags WHERE run_uuid = ? AND key = ?"
    row = connection.execute(sql, [run_id, key]).fetchone()
    return row[0] if row else None
