"""All that is known of one run: what `runback show` words."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.errors import NoSuchRun, RunbackError
from runback.record import files, manifest
from runback.remote import away
from runback.runs.folder import artifacts_of, files_of
from runback.runs.run import Run
from runback.store import history, listing, models
from runback.store.alive import lives
from runback.store.readable import readable

if TYPE_CHECKING:
    import sqlite3

    from runback.store.models import Model

SAMPLES = 24


@dataclass(frozen=True)
class Curve:
    """A metric: its latest value, that value's step, and samples of its course (step, value)."""

    name: str
    value: float
    step: int
    samples: list[tuple[int, float]]


@dataclass(frozen=True)
class Kept:
    """A checkpoint. size_bytes: None if its files are not here. is_best: by the primary metric."""

    model: Model
    size_bytes: int | None
    is_best: bool


@dataclass(frozen=True)
class Details:
    """A run. artifacts: size in bytes by path, without the record. manifest: {} if there is none.

    wrong: why the record or the folder cannot be used, "" if they can.
    """

    run: Run
    curves: list[Curve]
    checkpoints: list[Kept]
    artifacts: dict[str, int]
    manifest: dict[str, Any] = field(default_factory=dict)
    wrong: str = ""


def details(root: Path, run_id: str, system: bool = False) -> Details:
    """Return what is known of the run, at a cost that its number of metric points has no part in.

    system: the system's metrics too. Raises NoSuchRun, StoreError.
    """
    with readable(root) as connection:
        found = listing.with_ids(connection, [run_id])
        if not found:
            raise NoSuchRun(run_id, root, 0)
        run = Run(root, found[0], lives(connection, root, found).get(run_id))
        curves = [_curve(connection, run, name) for name in _names(run, system)]
        checkpoints = _kept(run, models.of_runs(connection, [run_id]).get(run_id, []))
    known: dict[str, Any] = {}
    try:
        folder = artifacts_of(root, run.listed)
        known = manifest.read(files.folder_of(folder), run_id)
        artifacts = _sizes(folder)
    except RunbackError as error:
        return Details(run, curves, checkpoints, {}, known, str(error))
    return Details(run, curves, checkpoints, artifacts, known)


def _names(run: Run, system: bool) -> list[str]:
    from runback.runs.listing import metric_names

    return [name for name in metric_names([run]) if system or not name.startswith("system/")]


def _curve(connection: sqlite3.Connection, run: Run, name: str) -> Curve:
    samples = history.samples(connection, run.id, name, SAMPLES)
    step = samples[-1][0] if samples else 0
    return Curve(name, run.latest[name], step, samples)


def _kept(run: Run, found: list[Model]) -> list[Kept]:
    primary = run.primary_metric
    best = primary and models.best(found, primary)
    return [Kept(model, _size(model), model is best) for model in found]


def _size(model: Model) -> int | None:
    try:
        return sum(_sizes(files_of(model)).values())
    except RunbackError:
        return None


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of each artifact, by its path in the folder. Raises ServerError."""
    there = away.sizes(folder)
    if there is not None:
        return {p: n for p, n in there.items() if not p.startswith(f"{files.FOLDER}/")}
    return {
        path.relative_to(folder).as_posix(): os.lstat(path).st_size
        for path in manifest.plain_files(folder)
    }
