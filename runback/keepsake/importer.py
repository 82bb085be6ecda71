"""Bring the experiments of a Keepsake repository into this store, as runs with a record.

Data first: checkpoints are published one by one, then the run with its record. So a
kill leaves nothing half, and the same import again goes on. Nothing is written into the
database: an index adopts what was imported.
"""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError, StoreError
from runback.keepsake import experiment as reading
from runback.keepsake import plan, rows, taken
from runback.keepsake.fetch import fetch
from runback.keepsake.publish import drafts, publish
from runback.keepsake.report import Report
from runback.keepsake.taken import Taken
from runback.locked import locked
from runback.record import files, manifest, state
from runback.record.state import State
from runback.store.complete import union, write_points
from runback.store.create import create
from runback.store.experiments import number_of, purged
from runback.store.identity import store_id
from runback.store.index import quiet
from runback.store.places import scan

if TYPE_CHECKING:
    from pathlib import Path

    from runback.keepsake.experiment import Experiment
    from runback.keepsake.fetch import Fetched
    from runback.keepsake.repository import Repository
    from runback.record.state import Row, Rows
    from runback.store.index import Progress, Say


def import_all(
    repository: Repository,
    root: Path,
    experiment: str,
    say: Say,
    dry_run: bool = False,
    progress: Progress = quiet,
) -> Report:
    """Import every experiment that is not in the store in the folder `root`, or has grown since.

    experiment: MLflow's name for the group that the runs are put in. dry_run: write
    nothing, unpack nothing; report what would be done. Raises StoreError, DiskFull, OSError.
    """
    found, report = plan.read_all(repository)
    if dry_run:
        plan.foretell(repository, found, root, report)
        return report
    create(root / "mlflow.db", say)
    (root / "mlruns").mkdir(exist_ok=True)
    with locked(root / ".runback" / "import.lock"), drafts(root / "mlruns") as folder:
        importer = _Importer(repository, root, experiment, folder, report)
        for done, each in enumerate(found):
            progress("experiments", done, len(found))
            importer.guarded(each)
    return report


class _Importer:
    def __init__(
        self, repository: Repository, root: Path, name: str, folder: Path, report: Report
    ) -> None:
        """name: of MLflow's experiment. folder: for drafts, on the disk of mlruns/."""
        self.repository = repository
        self.drafts = folder
        self.report = report
        self.store = store_id(root)
        self.purged = purged(root)
        self.places = scan(root / "mlruns")
        number = number_of(root, name)
        self.home = self.places.mlruns / str(number)
        files.refuse_links(self.home / "models")
        now_ms = time.time_ns() // 1_000_000
        self.group: Row = {
            **{"experiment_id": number, "name": name, "artifact_location": str(self.home)},
            **{"lifecycle_stage": "active", "creation_time": now_ms, "last_update_time": now_ms},
        }

    def guarded(self, experiment: Experiment) -> None:
        """Take an experiment; what is wrong with it alone is reported."""
        if experiment.run_id in self.purged:
            self.report.purged.append(experiment.run_id)
            return
        try:
            self._take(experiment)
        except RecordError as error:
            self.report.wrong[str(error.path)] = error.reason
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreError(
                f"the disk of {self.places.mlruns} is full; what was imported is whole",
                f"df -h {self.places.mlruns}   # then the same command again",
            ) from error

    def _take(self, experiment: Experiment) -> None:
        before, known = plan.taken_of(experiment, self.places)
        is_same = before.digest == taken.digest(experiment)
        if known and known["store"] != self.store:
            if not is_same:
                path = self.places.record(experiment.run_id)
                reason = f"has grown in the repository, and is written by {known['store']}"
                raise RecordError(path, f"{reason}: import it there")
            return
        home = self._run_folder(experiment).parent
        got = fetch(self.repository, experiment, before, self.places, home, self.drafts)
        plan.name_lost(self.report, experiment, got.without_files)
        if is_same and got.is_empty():
            return
        self._write(experiment, before, known, got)
        fetched = {c.id for c in experiment.checkpoints if c.model_id in got.models}
        plan.count(self.report, experiment, before, fetched)

    def _run_folder(self, experiment: Experiment) -> Path:
        known = self.places.artifacts.get(experiment.run_id)
        return known.parent if known else self.home / experiment.run_id

    def _write(
        self, experiment: Experiment, before: Taken, known: dict[str, Any], got: Fetched
    ) -> None:
        """Write the run's record: of one that is new as a draft, else file by file."""
        target = self._run_folder(experiment)
        folder = target if known else self.drafts / experiment.run_id
        record = files.folder_of(folder / "artifacts")
        record.mkdir(parents=True, exist_ok=True)
        last_ms = self._keep_sources(experiment, folder / "artifacts")
        if got.archive and got.code:
            got.archive.replace(record / files.CODE)
        write_points(record, rows.points(experiment))
        models = {**known.get("models", {}), **got.models}
        paths = {
            name: self.places.artifacts.get(name, self.places.default(target.parent.name, name))
            for name in models
        }
        had = state.read(record, experiment.run_id) if known else None
        group = had.rows["experiments"][0] if had else self.group
        made = rows.rows(experiment, group, target / "artifacts", paths, last_ms)
        state.write(record, _grown(had, made) if had else State(experiment.run_id, made))
        self._finish(experiment, before, known, got, record, models)
        if not known:
            publish(folder, target)

    def _keep_sources(self, experiment: Experiment, artifacts: Path) -> int:
        """Keep Keepsake's own files; return when the run last did something (ms since 1970)."""
        folder = artifacts / "keepsake"
        folder.mkdir(exist_ok=True)
        files.refuse_links(folder)
        files.replace(folder / "experiment.json", experiment.raw)
        beat = reading.heartbeat(self.repository.heartbeat(experiment.id))
        if beat:
            files.replace(folder / "heartbeat.json", beat[1])
        times = [checkpoint.created_ms for checkpoint in experiment.checkpoints]
        return max([experiment.created_ms, *times, *([beat[0]] if beat else [])])

    def _finish(
        self,
        experiment: Experiment,
        before: Taken,
        known: dict[str, Any],
        got: Fetched,
        record: Path,
        models: dict[str, Any],
    ) -> None:
        captured = {"recorded_by": "import keepsake", **rows.circumstances(experiment)}
        captured |= _took(experiment, got).part()
        captured["code"] = got.code if before.lacks_code(experiment) else known.get("code")
        made = manifest.new(experiment.run_id, self.store, captured, _missing(experiment, got))
        manifest.finish(record, {**known, **made}, manifest.digests(record.parent), models)


def _took(experiment: Experiment, got: Fetched) -> Taken:
    count = len(experiment.checkpoints)
    return Taken(experiment.id, taken.digest(experiment), count, got.without_files)


def _missing(experiment: Experiment, got: Fetched) -> list[str]:
    """Say which files could not be taken, as the record's `missing` does."""
    steps = {checkpoint.id: checkpoint.step for checkpoint in experiment.checkpoints}
    names = {name: f"checkpoint {name[:7]} of step {step}" for name, step in steps.items()}
    names[experiment.id] = files.CODE
    return [f"{names[name]}: its archive {reason}" for name, reason in got.without_files.items()]


def _grown(before: State, rows: Rows) -> State:
    """Return the state of a run that has grown in Keepsake, and perhaps here too."""
    had = before.rows
    merged = {t: union(t, rows.get(t, []), had.get(t, [])) for t in {**had, **rows}}
    merged["tags"] = union("tags", had.get("tags", []), rows["tags"])
    merged["runs"] = [{**had["runs"][0], "end_time": rows["runs"][0]["end_time"]}]
    return replace(before, rows=merged)
