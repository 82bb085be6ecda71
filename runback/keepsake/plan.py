"""Decide what is to be imported: read every experiment, and compare it with what is here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.keepsake import experiment as reading
from runback.keepsake import taken
from runback.keepsake.report import Report
from runback.keepsake.taken import Taken
from runback.record import files, manifest
from runback.store.experiments import purged
from runback.store.places import scan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from runback.keepsake.experiment import Experiment
    from runback.keepsake.repository import Repository
    from runback.store.places import Places

# Keepsake wrote a heartbeat every 5 s, and called an experiment running for this long after it.
HEARTBEAT_S = 30


def read_all(repository: Repository) -> tuple[list[Experiment], Report]:
    """Return the experiments that can be imported; the others are in the report."""
    found: dict[str, Experiment] = {}
    report = Report()
    for path in repository.experiments():
        report.experiments += 1
        try:
            read = reading.read(path)
            if read.run_id in found:
                other = found[read.run_id].id
                raise RecordError(path, f"has an id that begins like that of experiment {other}")
        except RecordError as error:
            report.wrong[str(error.path)] = error.reason
            continue
        found[read.run_id] = read
    running = {run_id for run_id, each in found.items() if _is_running(repository, each)}
    report.running = sorted(running)
    return [each for run_id, each in found.items() if run_id not in running], report


def _is_running(repository: Repository, experiment: Experiment) -> bool:
    beat = reading.heartbeat(repository.heartbeat(experiment.id))
    return beat is not None and beat[0] / 1000 > time.time() - HEARTBEAT_S


def foretell(repository: Repository, found: list[Experiment], root: Path, report: Report) -> None:
    """Report what an import would do, as far as can be told without unpacking."""
    gone = purged(root) if (root / "mlflow.db").exists() else set[str]()
    places = scan(root / "mlruns")
    for each in found:
        if each.run_id in gone:
            report.purged.append(each.run_id)
            continue
        try:
            _foretell(repository, each, taken_of(each, places)[0], report)
        except RecordError as error:
            report.wrong[str(error.path)] = error.reason


def _foretell(
    repository: Repository, experiment: Experiment, before: Taken, report: Report
) -> None:
    wanted = {c.id: repository.checkpoint(c.id) for c in before.to_take(experiment)}
    if before.lacks_code(experiment):
        wanted[experiment.id] = repository.code(experiment.id)
    lost = {name for name, path in wanted.items() if not path.is_file()}
    name_lost(report, experiment, {name: "is missing" for name in sorted(lost)})
    if before.digest != taken.digest(experiment) or wanted.keys() - lost:
        count(report, experiment, before, wanted.keys() - lost)


def name_lost(report: Report, experiment: Experiment, lost: Mapping[str, str]) -> None:
    """Add the archives that could not be taken, by their place in the repository."""
    for name, reason in lost.items():
        kind = "experiments" if name == experiment.id else "checkpoints"
        report.without_files[f"{kind}/{name}.tar.gz"] = reason


def count(report: Report, experiment: Experiment, before: Taken, fetched: Collection[str]) -> None:
    """Add an experiment that is imported or completed. fetched: the ids whose files came."""
    is_new = not before.digest
    (report.imported if is_new else report.completed).append(experiment.run_id)
    listed = [checkpoint.id for checkpoint in experiment.checkpoints]
    late = [name for name in listed[: before.checkpoints] if name in fetched]
    report.checkpoints += len(listed[before.checkpoints :]) + len(late)
    report.notes += experiment.notes


def taken_of(experiment: Experiment, places: Places) -> tuple[Taken, dict[str, Any]]:
    """Return what was taken of the experiment before, and the manifest of its run.

    Raises RecordError if the run of this id is another.
    """
    if experiment.run_id not in places.artifacts:
        return Taken(experiment.id), {}
    record = places.record(experiment.run_id)
    files.refuse_links(record)
    known = manifest.read(record, experiment.run_id)
    return taken.read(known, record / files.MANIFEST, experiment), known
