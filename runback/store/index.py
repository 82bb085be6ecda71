"""Make the local store right: the database says what the runs' folders say, and the other way.

Four steps. Runs are tied to the DVC experiments that they were made in. Those whose
process is gone are ended. Records of this store's own runs are completed from the
database. Then, in one transaction, records are adopted, edits merged, and locations
made right. A kill in between leaves each file and the database whole, and the next
call goes on.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.locked import locked
from runback.record import files, manifest
from runback.store import dvc, identity, leftovers, objects, running, trash
from runback.store.bulk import filling_metrics
from runback.store.complete import complete
from runback.store.create import copy_or_make, create
from runback.store.export import Reader
from runback.store.locations import rewrite
from runback.store.places import has_shape_of, is_seen, local_path, scan
from runback.store.reconcile import AWAY, Reconciler
from runback.store.report import Report
from runback.store.schema import opened
from runback.store.seen import Memory
from runback.store.tags import SESSION_TAG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from runback.store.seen import Cursor

    Progress = Callable[[str, int, int], None]
    Say = Callable[[str], None]

# MLflow's writers wait 20 s for the database: with more points to adopt than these,
# the transaction is split between runs so that a training beside us does not fail.
POINTS_AT_ONCE = 1_000_000
# Of a folder that is not what its name says; others (a full disk) end the index.
STRANGE = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EEXIST)
# A run that began this lately may be captured this very moment.
BEING_CAPTURED_S = 60


def quiet(step: str, done: int, total: int) -> None:
    """Show no progress."""


def index(
    root: Path,
    say: Say,
    dry_run: bool = False,
    progress: Progress = quiet,
    thorough: bool = False,
) -> Report:
    """Bring `mlflow.db` and the records in `mlruns/` of the folder `root` up to one another.

    dry_run: change nothing, neither database nor files; report what would be done.
    thorough: complete the records of all of this store's runs, whether they changed or not.
    Raises StoreError; OSError if a file cannot be written.
    """
    if dry_run:
        return _on_a_copy(root, progress)
    create(root / "mlflow.db", say)
    store = identity.store_id(root)
    tied = dvc.link(root)
    with locked(root / ".runback" / "index.lock"), opened(root / "mlflow.db") as connection:
        report = _Index(root, connection, store, False, progress).run(thorough)
    report.tied = tied
    return report


def _on_a_copy(root: Path, progress: Progress) -> Report:
    """Index a copy of the database: nobody waits for it, and nothing is made here."""
    with tempfile.TemporaryDirectory(prefix="runback-") as folder:
        copy = Path(folder) / "mlflow.db"
        copy_or_make(root / "mlflow.db", copy)
        with opened(copy) as connection:
            return _Index(root, connection, identity.known_id(root), True, progress).run(False)


class _Index:
    def __init__(
        self,
        root: Path,
        connection: sqlite3.Connection,
        store: str,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self.root = root
        self.connection = connection
        self.dry_run = dry_run
        self.progress = progress
        self.memory = Memory(connection, store)
        self.report = Report()

    def run(self, thorough: bool) -> Report:
        if not (self.dry_run or self.memory.is_foreign()):
            self.report.wrong.update(trash.empty(self.root, self.connection))
        live, gone = running.runs(self.root)
        self.sessions = running.gone_sessions(self.root)
        self.gone = gone | self._not_held() - live
        self.places = scan(self.root / "mlruns")
        self.report.wrong.update(self.places.wrong)
        self.foreign, self.seen = self.memory.is_foreign(), self.memory.all()
        self.news = self._unlike_seen()
        self._end()
        if not self.dry_run:
            leftovers.sweep_drafts(self.root, live)
            with self.memory.shrinking():
                leftovers.drop_pending(self.connection, self.places, self.gone)
            objects.sweep(self.root)
        cursor = self.memory.cursor()
        changed = self.memory.changed() | self.memory.grown(cursor) | self.gone
        # Of those unlike seen, an older copy may have been put over our own record.
        todo = (changed | self.news) - live
        every = self.places.stamps.keys() - live if thorough else set[str]()
        self._complete(sorted(todo | every))
        self._reconcile(sorted(todo), cursor)
        self._recall_wrong(todo)
        self._forget()
        self.report.runs = self.connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
        return self.report

    def _recall_wrong(self, looked_at: set[str]) -> None:
        """Name what was wrong before, and has not been touched since."""
        for run_id, known in () if self.foreign else self.seen.items():
            if known.wrong and run_id in self.places.stamps and run_id not in looked_at:
                self.report.wrong[str(self.places.record(run_id))] = known.wrong

    def _forget(self) -> None:
        for run_id in () if self.dry_run else self.gone:
            # A run that was not in the database before is ended by the next index.
            if Reader(self.connection).status(run_id) != "RUNNING":
                running.remove(self.root, run_id)
        for session in () if self.dry_run else self.sessions:
            running.remove(self.root, running.SESSION + session)
        if not self.dry_run:
            running.sweep(self.root)

    def _not_held(self) -> set[str]:
        """Return the runs of killed sessions that nobody ended: perhaps they were not held yet."""
        found = self.connection.execute(
            "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE status = 'RUNNING'"
            " AND tags.key = ? AND tags.value IN (SELECT value FROM json_each(?))",
            [SESSION_TAG, json.dumps(sorted(self.sessions))],
        )
        return {row[0] for row in found}

    def _unlike_seen(self) -> set[str]:
        """Return the runs of which a file was replaced since."""
        seen = {} if self.foreign else {run: known.stamp for run, known in self.seen.items()}
        return {run_id for run_id, stamp in self.places.stamps.items() if seen.get(run_id) != stamp}

    def _end(self) -> None:
        """End the runs whose process is gone, at the last moment that is known of them."""
        for run_id in sorted(self.gone):
            row = self.connection.execute(
                "SELECT MAX(start_time, COALESCE((SELECT MAX(timestamp) FROM metrics"
                " WHERE metrics.run_uuid = runs.run_uuid), 0))"
                " FROM runs WHERE run_uuid = ? AND status = 'RUNNING'",
                [run_id],
            ).fetchone()
            if row is None:
                continue
            self.report.ended.append(run_id)
            if not self.dry_run:
                written_ms = int(self.places.stamps.get(run_id, "0").split()[0]) // 1_000_000
                self.connection.execute(
                    "UPDATE runs SET status = 'KILLED', end_time = ?"
                    " WHERE run_uuid = ? AND status = 'RUNNING'",
                    [max(row[0], written_ms), run_id],
                )

    def _complete(self, run_ids: list[str]) -> None:
        """Write what the records of this store's own runs lack.

        Before the transaction: files are synced one by one, and MLflow's writers wait
        no longer than 20 s.
        """
        reader, store = Reader(self.connection), self.memory.store
        for done, run_id in enumerate(run_ids):
            self.progress("records", done, len(run_ids))
            try:
                if not self._is_ours_to_write(run_id):
                    continue
                if self.dry_run:
                    self.report.completed += [run_id] if self._lacks_end(run_id) else []
                elif complete(reader, self.places, run_id, store, run_id in self.gone):
                    self.report.completed.append(run_id)
                    self.places.note_record(run_id)
            except RecordError as error:
                self.report.wrong[str(error.path)] = error.reason
            except OSError as error:
                if error.errno not in STRANGE:
                    raise
                self.report.wrong[str(error.filename)] = str(error.strerror)

    def _lacks_end(self, run_id: str) -> bool:
        if run_id not in self.places.stamps:
            return True
        return not manifest.is_final(manifest.read(self.places.record(run_id), run_id))

    def _is_ours_to_write(self, run_id: str) -> bool:
        """Say whether this store writes the run's record: it began it, or nobody did."""
        row = self.connection.execute(
            "SELECT artifact_uri, experiment_id, start_time, (SELECT value FROM tags WHERE"
            " tags.run_uuid = runs.run_uuid AND key = ?) FROM runs WHERE run_uuid = ?",
            [SESSION_TAG, run_id],
        ).fetchone()
        if row is None:
            return False
        if self.foreign and run_id in self.places.stamps and run_id not in self.gone:
            return False  # what that database says of it is older than its record
        uri, experiment_id, start_time, session = row
        if running.is_held(self.root, run_id):
            return False  # it began while we looked
        if run_id not in self.places.artifacts and not self.foreign:
            self._place(run_id, uri, experiment_id)
        if run_id in self.places.stamps:
            record = self.places.record(run_id)
            if run_id in self.gone and not os.path.lexists(record / files.MANIFEST):
                return True  # killed before it wrote one here
            return bool(manifest.read(record, run_id)["store"] == self.memory.store)
        known = self.seen.get(run_id)
        if self.foreign or run_id not in self.places.artifacts or (known and known.stamp == AWAY):
            return False
        if known and known.owner not in ("", self.memory.store):
            return False  # its record was here, and is another's to write again
        if run_id in self.gone:
            return True
        began_now = time.time() - (start_time or 0) / 1000 < BEING_CAPTURED_S
        return not (
            session and (began_now or running.is_held(self.root, running.SESSION + str(session)))
        )

    def _place(self, run_id: str, uri: str | None, experiment_id: int) -> None:
        """Say where the record of a run goes that has no artifacts yet, or keeps them elsewhere."""
        path = local_path(uri)
        if path is None:
            return  # an object store
        is_elsewhere = has_shape_of(path, run_id) and is_seen(path)
        here = Path(path) if is_elsewhere else self.places.default(experiment_id, run_id)
        if any(folder.is_symlink() for folder in (here, *here.parents[:2])):
            return
        self.places.artifacts[run_id] = here
        self.places.note_record(run_id)

    def _let_others_write(self) -> set[str]:
        """Commit and begin again; return the runs that were written to in between."""
        cursor = self.memory.cursor()
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")
        return self.memory.grown(self.memory.cursor(), cursor)

    def _reconcile(self, run_ids: list[str], cursor: Cursor) -> None:
        """Adopt, merge and relocate in one transaction (see POINTS_AT_ONCE)."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            late = self.memory.grown(self.memory.cursor(), cursor)
            self.memory.prepare()
            reconciler = Reconciler(
                *(self.memory, self.places, self.seen, self.foreign, self.dry_run, self.report),
                self.news,
            )
            # Nobody logs to a store without a metric, or not yet: then nobody waits for us.
            is_new = self.memory.cursor()["metrics"] == [0, 0]
            points = 0
            with filling_metrics(self.connection, is_new):
                for done, run_id in enumerate(run_ids):
                    self.progress("runs", done, len(run_ids))
                    points += reconciler.reconcile(run_id)
                    if points > POINTS_AT_ONCE and not is_new:
                        reconciler.settle()
                        late |= self._let_others_write()
                        points = 0
            self.report.moved = rewrite(self.connection, self.places, self.foreign)
            reconciler.settle(self.report.moved)
            self.memory.forget(late)
            self.memory.keep_cursor(self.memory.cursor())
            self.memory.claim()
            self.connection.execute("ROLLBACK" if self.dry_run else "COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
