"""One run's record while it is written: its beginning, its growth, its end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture import facts
from runback.capture.ledger import QUEUE
from runback.capture.output import LARGEST_BYTES, Lines
from runback.capture.resuming import going_on
from runback.capture.server import Server
from runback.errors import RecordError
from runback.record import fields, files, ledger, manifest, metrics, state
from runback.record.state import State
from runback.store import running
from runback.store.complete import write_points
from runback.store.identity import host_name, private_folder, store_id
from runback.store.places import local_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from runback.capture.facts import Facts
    from runback.capture.source import Glimpse, Source
    from runback.record.state import Row, Rows


class Recording:
    """Records one run. `ended` once its record is final."""

    def __init__(
        self,
        source: Source,
        run_id: str,
        previous: Recording | None,
        expected_ms: int,
        drain: Callable[[], None],
    ) -> None:
        """expected_ms: when MLflow asked for its tags; what the run does comes after.

        drain: brings us what was printed by now.
        """
        self._drain = drain
        self.source = source
        self.run_id = run_id
        self._expected_ms = expected_ms
        self.ended = False
        self._given_up = False
        self.facts: Facts | None = previous.facts if previous else None
        self._rows: Rows = {}
        self._since: dict[str, int] = {}
        self._last = 0
        self._count = 0
        self._hold: running.Hold | None = None
        self._lines = {"stdout": Lines(), "stderr": Lines()}
        self._next_s = 0.0
        self._noted: list[bytes] = []
        self._is_full = False
        self._missing: list[str] = []

    def begin(self) -> None:
        """Write what is known at the start. Raises OSError or RunbackError if that fails."""
        if self.source.root:
            self._hold = running.hold(self.source.root, self.run_id)
        glimpse = self.source.read(self.run_id, 0)
        self._rows, artifacts = glimpse.rows, glimpse.artifacts
        # Not a TemporaryDirectory, which is gone before our exit handler.
        self._spool = None if artifacts else Path(tempfile.mkdtemp(prefix="runback-"))
        self._record = files.folder_of(artifacts or self._spool or Path())
        self._record.mkdir(parents=True, exist_ok=True)
        self.facts = facts.gather(self.facts, self._expected_ms)
        store = store_id(self.source.root) if self.source.root else host_name()
        captured = {**self.facts.captured, "process": self._process()}
        if known := going_on(self._record, self.run_id, captured):
            self._go_on(known, glimpse)
        else:
            self._start(self.facts, manifest.new(self.run_id, store, captured, self._missing))
        self._write_state(glimpse)
        cache = private_folder(self.source.root or self.facts.project) / "digests.json"
        self._data = facts.DataDigests(self.facts.project, cache)
        self._upload()

    def _start(self, found: Facts, made: dict[str, Any]) -> None:
        # Compressing takes a second for 10 MB of code: what is known by now is kept before.
        files.write_json(self._record / files.MANIFEST, {**made, "missing": [manifest.NO_CODE]})
        found.write_archive(self._record / files.CODE)
        files.write_json(self._record / files.MANIFEST, made)
        self._manifest = made

    def _go_on(self, known: dict[str, Any], glimpse: Glimpse) -> None:
        self._manifest, self._missing = known, known["missing"]
        files.write_json(self._record / files.MANIFEST, known)
        with contextlib.suppress(RecordError):  # it is written anew
            before = state.read(self._record, self.run_id)
            self._rows, self._since = before.rows, before.since
        write_points(self._record, glimpse.points)
        self._last, self._count = glimpse.last, len(glimpse.points)

    def _process(self) -> dict[str, Any]:
        assert self.facts is not None
        machine, command = self.facts.captured["machine"], self.facts.captured["command"]
        return {
            "host": machine.get("host"),
            "boot_id": machine.get("boot_id"),
            "pid": command.get("pid"),
            "recorded_from_ms": self._expected_ms,
        }

    def has_begun_training(self) -> bool:
        """Say whether there is something to lose by stopping the run."""
        try:
            glimpse = self.source.read(self.run_id, 0)
        except (OSError, LookupError):
            return False
        return bool(glimpse.points) or not glimpse.is_running

    def output(self, written: list[tuple[str, str]]) -> None:
        """Append what the process printed, as lines."""
        text = "".join(self._lines[name].feed(part) for name, part in written)
        if text:
            self._append_output(text)

    def _append_output(self, text: str) -> None:
        path = self._record / files.OUTPUT
        with files.open_end(path) as file:
            if file.seek(0, 2) < LARGEST_BYTES:
                file.write(text.encode(errors="backslashreplace"))

    def beat(self) -> None:
        """Append what is new; end the record if the run has ended."""
        if time.monotonic() < self._next_s:
            return
        began_s = time.monotonic()
        glimpse = self.source.read(self.run_id, self._last)
        if glimpse.is_running:
            self._grow(glimpse)
        else:
            self._drain()  # printed after the last look, and before the run ended
            self._end(glimpse, "")
        # Of a run with very many rows, a look takes longer: never more than a hundredth.
        took_s = time.monotonic() - began_s
        self._next_s = time.monotonic() + max(self.source.beat_s - 0.1, 100 * took_s)

    def _grow(self, glimpse: Glimpse) -> None:
        self._count += metrics.append(self._record / files.METRICS, glimpse.points)
        self._last = glimpse.last
        if glimpse.points or glimpse.rows != self._rows:
            self._write_state(glimpse)  # a rename: by it, an index sees that something is new
        self._append_noted(glimpse.rows["runs"][0])

    def _append_noted(self, run: Row) -> None:
        """Append what the training has noted. run: as it was seen before, perhaps at its end."""
        noted, lacks = QUEUE.take(self.run_id, run["start_time"] or 0, run["end_time"])
        self._noted += [] if self._is_full else noted
        if self._noted and not ledger.append(self._record / files.LEDGER, self._noted):
            self._is_full = True
            lacks.append(f"{files.LEDGER}: it is full, and lacks the later steps")
        self._noted = []
        for reason in lacks:
            self.note_missing(reason)

    def _write_state(self, glimpse: Glimpse) -> None:
        before = fields.of_rows(self._rows)
        now = fields.of_rows(glimpse.rows)
        for field in before.keys() | now.keys():
            if before.get(field) != now.get(field):
                self._since[field] = time.time_ns() // 1_000_000
        self._rows = glimpse.rows
        state.write(self._record, State(self.run_id, self._rows, self._since))

    def _end(self, glimpse: Glimpse, how: str) -> None:
        for lines in self._lines.values():
            if rest := lines.rest():
                self._append_output(rest)
        self._grow(glimpse)
        self._mend_metrics()
        assert self.facts is not None
        self._manifest |= {
            "data": self._data.wait(),
            "ended": {"by": how},
            "at_end": facts.at_end(self.facts),
        }
        artifacts = self._record.parent
        found = {} if self._spool else manifest.digests(artifacts)
        manifest.finish(self._record, self._manifest, found, self._models(glimpse.rows))
        self._listing = self._list()
        self._upload()
        self.ended = True
        if self._hold:
            self._hold.release()
            self._hold = None

    def _mend_metrics(self) -> None:
        """Write all points anew if the file was replaced: rsync brought an old copy back."""
        path = self._record / files.METRICS
        if self._count and (not path.exists() or metrics.count(path) != self._count):
            write_points(self._record, self.source.read(self.run_id, 0).points)

    def _models(self, rows: Rows) -> dict[str, Any]:
        folders = {
            str(row["model_id"]): local_path(row["artifact_location"])
            for row in rows.get("logged_models", ())
        }
        return {
            name: manifest.model_digests(Path(path), name) for name, path in folders.items() if path
        }

    def _list(self) -> list[tuple[str, int, int]]:
        """Return names, sizes and times of the artifacts: do they still match the digests?"""
        if self._spool:
            return []
        stats = [(path, path.lstat()) for path in manifest.plain_files(self._record.parent)]
        return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]

    def close(self, how: str) -> None:
        """End the record: the process ends. Again, if something came after its end."""
        if self._given_up:
            return
        glimpse = self.source.read(self.run_id, self._last)
        if glimpse.is_running:
            # A run that nobody ended: MLflow's own handler has been, it was a bare client's.
            self.source.end(self.run_id, "FAILED" if how else "FINISHED")
            glimpse = self.source.read(self.run_id, self._last)
        if (
            not self.ended
            or glimpse.points
            or glimpse.rows != self._rows
            or QUEUE.has(self.run_id)
            or self._listing != self._list()
        ):
            self._end(glimpse, how)
        if self._spool:
            shutil.rmtree(self._spool, ignore_errors=True)

    def _upload(self) -> None:
        if self._spool:
            Server(self.source.uri).upload(self.run_id, self._record)

    def note_missing(self, reason: str) -> bool:
        """Keep what the record lacks, for its manifest; say whether it is the first such reason."""
        if not any(known.endswith(f" {reason}") for known in self._missing):
            self._missing.append(f"{time.strftime('%H:%M:%S')} {reason}")
            return len(self._missing) == 1
        return False

    def give_up(self) -> None:
        """Leave alone a run that cannot be recorded; it stays held: an index must not end it."""
        self.ended = self._given_up = True

    def forget(self) -> None:
        if self._hold:
            self._hold.forget()
            self._hold = None
