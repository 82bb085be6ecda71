"""Bring one run in the database and its record together."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.record import check, fields, files, manifest, metrics, pruned, state
from runback.store.adopt import Adopter
from runback.store.remove import delete_models
from runback.store.seen import Seen, parse_edits, parse_seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from runback.record.fields import Edit, Value
    from runback.record.state import State
    from runback.store.places import Places
    from runback.store.report import Report
    from runback.store.seen import Memory, Now

# What a row that is not MLflow's, or nonsense in it, comes to.
REFUSED = (
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
    *(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError),
)
# The mark of a run that came with another store's database, without its files.
AWAY = "away"


class Reconciler:
    """Reconciles runs within the caller's transaction, each in a savepoint of its own."""

    def __init__(
        self,
        memory: Memory,
        places: Places,
        seen: dict[str, Seen],
        foreign: bool,
        dry_run: bool,
        report: Report,
        news: set[str],
    ) -> None:
        """news: the runs whose record is not as it was seen, before we wrote to it."""
        self.memory = memory
        self.places = places
        self.seen = seen
        self.foreign = foreign
        self.dry_run = dry_run
        self.report = report
        self.connection = memory.connection
        self.adopter = Adopter(self.connection, places)
        self.news = news
        self._touched: set[str] = set()
        self._behind: set[str] = set()

    def reconcile(self, run_id: str) -> int:
        """Reconcile a run; return how many metric points were read for it."""
        if run_id not in self.places.stamps:
            known = self.seen.get(run_id)
            owner = known.owner if known and not self.foreign else ""
            self._keep(run_id, Seen(owner, AWAY if self.foreign else "", None, None, None))
            return 0
        points, wrong = 0, None
        self.connection.execute("SAVEPOINT run")
        try:
            points = self._with_record(run_id)
        except RecordError as error:
            wrong = f"{error.path.name} {error.reason}"
        except REFUSED as error:
            self.connection.execute("ROLLBACK TO run")
            wrong = f"{files.RUN} has what MLflow's tables do not take: {error}"
        self.connection.execute("RELEASE run")
        if wrong:
            self._keep_wrong(run_id, wrong)
        return points

    def _keep_wrong(self, run_id: str, wrong: str) -> None:
        self.report.wrong[str(self.places.record(run_id))] = wrong
        known = self.seen.get(run_id, Seen("", "", None, None, None))
        self._keep(run_id, replace(known, stamp=self.places.stamps[run_id], wrong=wrong))
        if known.fields:
            self._touched.discard(run_id)  # what is edited now is noted when the record is mended

    def settle(self, moved: Iterable[str] = ()) -> None:
        """Remember the runs that were reconciled, after the last change to them."""
        for run_id in self._drop_dangling():
            self.connection.execute(
                "UPDATE runback_runs SET stamp = '' WHERE run_uuid = ?", [run_id]
            )
        self.memory.keep_fields(self._touched | set(moved))
        self.memory.forget(self._behind)
        self._touched.clear()
        self._behind.clear()

    def _keep(self, run_id: str, known: Seen) -> None:
        self.memory.keep(run_id, known)
        self._touched.add(run_id)

    def _drop_dangling(self) -> set[str]:
        """Remove metrics of models that are not here (yet); return the runs that logged them."""
        where = (
            "model_id NOT IN (SELECT model_id FROM logged_models)"
            " OR run_id NOT IN (SELECT run_uuid FROM runs)"
        )
        found = self.connection.execute(f"SELECT run_id FROM logged_model_metrics WHERE {where}")
        runs = {row[0] for row in found.fetchall()}
        if runs:
            self.connection.execute(f"DELETE FROM logged_model_metrics WHERE {where}")
        return runs

    def _with_record(self, run_id: str) -> int:
        record, now = self.places.record(run_id), self.memory.now(run_id)
        if now is None and self._was_purged(run_id):
            self.report.purged.append(run_id)
            return 0
        files.refuse_links(record)
        recorded = state.read(record, run_id)
        problem, owner, is_final = self._manifest(record, run_id)
        # Another store's database knows an own run as it was when it was copied there.
        is_own = owner == self.memory.store and not self.foreign
        edits, damaged = fields.read_all(record)
        lost = self._put_back_lost_edits(run_id, edits)
        latest = fields.merged(fields.of_rows(recorded.rows), recorded.since, edits.values())
        base = self._base(run_id, latest, is_own)
        if now and base is not None and now.fields != base and (is_final or not is_own):
            latest = self._note_edits(run_id, base, now, latest, edits)
        elif lost:
            self._write_edits(run_id, edits[self.memory.store], edits)
        gone = pruned.models(edits, owner, self.memory.store)
        delete_models(self.connection, run_id, gone)
        points = self._adopt(run_id, pruned.without(recorded, gone), latest, now, is_own)
        problem = problem or next((f"{e.path.name} {e.reason}" for e in damaged), None)
        if problem:
            self.report.wrong[str(record)] = problem
        own = {f: [e.time_ms, e.value] for f, e in edits.get(self.memory.store, {}).items()}
        noted = json.dumps(own) if own else None
        self._keep(run_id, Seen(owner, self.places.stamps[run_id], None, noted, problem))
        if is_own and now and not is_final and now.status != "RUNNING":
            self._behind.add(run_id)  # it ended after its record was written
        return points

    def _was_purged(self, run_id: str) -> bool:
        """Say whether the run was deleted here, and then removed for good (mlflow gc)."""
        known = self.seen.get(run_id) if not self.foreign else None
        before = parse_seen(known.fields) if known else None
        return before is not None and before["lifecycle_stage"] == "deleted"

    def _manifest(self, record: Path, run_id: str) -> tuple[str | None, str, bool]:
        """Return what is wrong with the manifest, whose it is, and whether it is final."""
        try:
            found = manifest.read(record, run_id)
        except RecordError as error:
            known = self.seen.get(run_id)
            return f"{error.path.name} {error.reason}", known.owner if known else "", True
        return check.glance(record, found), str(found["store"]), manifest.is_final(found)

    def _base(
        self, run_id: str, latest: Mapping[str, Edit], is_own: bool
    ) -> dict[str, Value] | None:
        """Return the fields that the database had when it was last right; None if unknown."""
        known = self.seen.get(run_id)
        if known and (before := parse_seen(known.fields)):
            return before
        return fields.values(latest) if is_own and not self.foreign else None

    def _note_edits(
        self,
        run_id: str,
        base: dict[str, Value],
        now: Now,
        latest: dict[str, Edit],
        edits: dict[str, dict[str, Edit]],
    ) -> dict[str, Edit]:
        store, time_ms = self.memory.store, time.time_ns() // 1_000_000
        made = fields.changes(base, now.fields, latest, time_ms, store)
        self._write_edits(run_id, {**edits.get(store, {}), **made}, edits)
        self.report.edited.append(run_id)
        return {**latest, **made}

    def _write_edits(
        self, run_id: str, own: dict[str, Edit], edits: dict[str, dict[str, Edit]]
    ) -> None:
        edits[self.memory.store] = own
        if not self.dry_run:
            fields.write(self.places.record(run_id), self.memory.store, own)
            self.places.note_record(run_id)

    def _edits_seen(self, run_id: str) -> str | None:
        known = self.seen.get(run_id) if not self.foreign else None
        return known.edits if known else None

    def _put_back_lost_edits(self, run_id: str, edits: dict[str, dict[str, Edit]]) -> bool:
        """Add to `edits` what this store had noted and is not in its file; say whether there was.

        rsync --delete removes the file, and rsync from a machine with an older one replaces it.
        """
        store, known = self.memory.store, parse_edits(self._edits_seen(run_id))
        here = edits.get(store, {})
        lost = {
            field: fields.Edit(time_ms, store, value)
            for field, (time_ms, value) in known.items()
            if field not in here or here[field].time_ms < time_ms
        }
        if lost:
            edits[store] = {**here, **lost}
        return bool(lost)

    def _adopt(
        self, run_id: str, recorded: State, latest: dict[str, Edit], now: Now | None, is_own: bool
    ) -> int:
        if now is not None and is_own and run_id not in self.news:
            # The database is ahead of the record; only what others edited is news to it.
            news = {
                f: e.value for f, e in latest.items() if e.store and e.value != now.fields.get(f)
            }
            self.adopter.set_fields(run_id, news)
            if news:
                self.report.refreshed.append(run_id)
            return 0
        if now is not None and run_id not in self.news and not self.foreign:
            return 0
        (self.report.refreshed if now else self.report.adopted).append(run_id)
        path = self.places.record(run_id) / files.METRICS
        blocks = metrics.read(path) if path.exists() or path.is_symlink() else ()
        return self.adopter.adopt(recorded, fields.values(latest), blocks)
