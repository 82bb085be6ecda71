"""Remove the checkpoints of runs that are not among the best or the last."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runback.errors import NoRecord, RecordError
from runback.record import checkpoint, fields, files, manifest, pruned
from runback.runs.folder import artifacts_of, record_of
from runback.runs.run import read
from runback.store import models, objects, trash
from runback.store.identity import known_id
from runback.store.places import local_path
from runback.store.readable import readable
from runback.store.remove import delete_models, registered
from runback.store.seen import parse_edits
from runback.store.writable import transaction, writable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from runback.record.primary import PrimaryMetric
    from runback.runs.run import Run
    from runback.store.models import Model
    from runback.store.seen import Memory, Seen
    from runback.store.writable import Waiting

KIND = "checkpoint"


@dataclass(frozen=True)
class Keep:
    """How many checkpoints of a run stay. None: it does not count."""

    best: int | None
    last: int | None


@dataclass(frozen=True)
class Pruned:
    """What goes of a run, and what stays.

    no_metric: the best was asked for, and the run does not say by which metric: all stays.
    left: folders, by model id, that came back from another machine.
    """

    run: Run
    gone: list[Model]
    kept: list[Model]
    no_metric: bool = False
    left: dict[str, Path] = field(default_factory=dict)

    @property
    def folders(self) -> dict[str, Path]:
        """Return the folders that go, by model id."""
        found = {m.model_id: trash.folder_of(m.location, m.model_id) for m in self.gone}
        return {**self.left, **{item: folder for item, folder in found.items() if folder}}


def plan(root: Path, run_ids: Sequence[str], keep: Keep) -> list[Pruned]:
    """Return what `prune` would remove. Raises StoreError."""
    runs = read(root, run_ids)
    with readable(root) as connection:
        return [_of_run(connection, run, keep) for run in runs]


def prune(
    root: Path, run_ids: Sequence[str], keep: Keep, waiting: Waiting | None = None
) -> tuple[list[Pruned], int, dict[str, str]]:
    """Remove checkpoints; return what went, how many bytes, and what could not be removed.

    From MLflow's tables first, in one transaction; then it is noted in the record of each
    run, and the files go. A run that goes on may be pruned: its newest are the last.
    Raises StoreError.
    """
    with writable(root, waiting) as memory:
        runs = read(root, run_ids)
        now_ms = time.time_ns() // 1_000_000
        with transaction(memory.connection):
            found = [_of_run(memory.connection, run, keep) for run in runs]
            _delete(memory, found, now_ms)
        freed = freed_bytes(root, found)
        seen = memory.all()
        for run in runs:
            if run.id in seen:
                _note(run, memory.store, seen[run.id])
        return found, freed, trash.empty(root, memory.connection)


def freed_bytes(root: Path, found: Sequence[Pruned]) -> int:
    """Return how much the disk gets back when all of it goes."""
    return objects.freed_bytes(root, (f for one in found for f in one.folders.values()))


def choose(found: Sequence[Model], primary: PrimaryMetric | None, keep: Keep) -> set[str]:
    """Return the ids of the models that stay. found: by step.

    Of equals the first is the best; NaN and the infinities never are: where nothing else
    was logged, the last one stays in the place of the best.
    """
    kept = {model.model_id for model in found[max(0, len(found) - (keep.last or 0)) :]}
    if primary and keep.best:
        best = models.ranked(found, primary)[: keep.best] or found[-1:]
        kept |= {model.model_id for model in best}
    return kept


def _of_run(connection: sqlite3.Connection, run: Run, keep: Keep) -> Pruned:
    found = models.of_runs(connection, [run.id]).get(run.id, [])
    found = [model for model in found if model.kind == KIND]
    left = _left(run)
    if keep.best and run.primary_metric is None:
        return Pruned(run, [], found, True, left)
    whole = [model for model in found if _is_whole(model)]
    stay = choose(whole, run.primary_metric, keep)
    # One that is damaged stands for no other; its files may be whole on another machine.
    stay |= {model.model_id for model in found if model not in whole}
    stay |= {item for item, _, _ in registered(connection, [m.model_id for m in found])}
    # What lies on an object store is removed there, by whoever may.
    stay |= {model.model_id for model in found if local_path(model.location) is None}
    gone = [model for model in found if model.model_id not in stay]
    kept = [model for model in found if model.model_id in stay]
    return Pruned(run, gone, kept, left=left)


def _is_whole(model: Model) -> bool:
    """Say whether its files are here, as large as they were."""
    home = trash.folder_of(model.location, model.model_id)
    if home is None:
        return False
    folder = home / "artifacts"
    if not (files.folder_of(folder) / checkpoint.NAME).exists():  # somebody else's of our type
        return any(folder.iterdir()) if folder.is_dir() else False
    try:
        known = checkpoint.read(folder, model.model_id).files
        return all((folder / n).lstat().st_size == known[n]["size_bytes"] for n in known)
    except (RecordError, OSError):
        return False


def _left(run: Run) -> dict[str, Path]:
    """Return folders of checkpoints that were removed before, and are here (again)."""
    try:
        artifacts = artifacts_of(run.root, run.listed)
        record = record_of(run.root, run.listed)
        edits = fields.read_all(record)[0]
        if not pruned.models(edits, *edits):
            return {}
        owner = str(manifest.read(record, run.id)["store"])
        gone = pruned.models(edits, owner, known_id(run.root))
    except (NoRecord, RecordError):
        return {}
    found = {}
    for item in gone:
        place = artifacts.parent.parent / "models" / item / "artifacts"
        folder = trash.folder_of(str(place), item)
        if folder and _is_of(place, item, run.id):
            found[item] = folder
    return found


def _delete(memory: Memory, found: Sequence[Pruned], now_ms: int) -> None:
    """Delete what goes from MLflow's tables, and remember what is then to be done."""
    memory.prepare()
    with memory.shrinking():
        for one in found:
            delete_models(memory.connection, one.run.id, [m.model_id for m in one.gone])
    for one in found:
        if one.gone:
            edits = {fields.MODEL + model.model_id: fields.PRUNED for model in one.gone}
            memory.note(one.run.id, now_ms, edits)
    trash.add(memory.connection, {m: path for one in found for m, path in one.folders.items()})


def _is_of(place: Path, model_id: str, run_id: str) -> bool:
    """Say whether a checkpoint says of itself that it is this run's: an edit may say anything."""
    try:
        return checkpoint.read(place, model_id).run_id == run_id
    except RecordError:
        return False


def _note(run: Run, store: str, seen: Seen) -> None:
    """Note in the run's record what was removed, if it has a record yet. Raises OSError."""
    gone = {
        field: fields.Edit(time_ms, store, value)
        for field, (time_ms, value) in parse_edits(seen.edits).items()
        if field.startswith(fields.MODEL)
    }
    try:
        record = record_of(run.root, run.listed)
    except (NoRecord, RecordError):
        return
    known = fields.read_all(record)[0].get(store, {})
    if gone.keys() - known.keys():
        fields.write(record, store, {**known, **gone})
