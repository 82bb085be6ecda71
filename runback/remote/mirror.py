"""Mirror a server: each of its runs as a record, in a store of their own that the verbs read.

What a search tells of all runs is asked each time, in a few requests. A run of which
that is unchanged is not read again: metric histories take a request for each metric.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.locked import locked
from runback.record import files, manifest, metrics, state
from runback.record.state import State
from runback.remote import address, away, cache
from runback.remote.client import speaking
from runback.remote.errors import ServerError
from runback.store import mirrored
from runback.store.complete import UNCAPTURED
from runback.store.create import create
from runback.store.index import index
from runback.store.places import MODEL_ID, scan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runback.record.state import Rows
    from runback.remote.client import Client, Found

    Say = Callable[[str], None]

# What a search told of the run when it was read, and whether its record was complete then.
SEEN = "seen"
COMPLETE, GROWING = "complete", "growing"
# The writer of a record that the server has not; none of our stores has this name.
WRITER = "server"
NOT_THERE = "its record is not among its artifacts on the server"
PATIENCE_S = 1.0
# How many of what cannot be read are named.
WORDED = 3


def update(uri: str, say: Say) -> Path:
    """Bring the mirror of a server up to date; return its folder.

    say: told when it takes long. Raises ServerError, StoreError.
    """
    root = cache.make(uri)
    lock = root / ".runback" / "mirror.lock"
    with (
        locked(lock, lambda: say("waits for another runback, which reads the same server")),
        speaking(uri) as client,
    ):
        cache.note(root, uri)
        _Update(root, client, say).run()
    return root


class _Update:
    """A kill leaves runs that were read, and those that were not: the next update goes on."""

    def __init__(self, root: Path, client: Client, say: Say) -> None:
        self.root = root
        self.client = client
        self.say = say
        self.places = scan(root / "mlruns")
        self.unread: dict[str, str] = {}

    def run(self) -> None:
        listing = self.client.search()
        self._read([run for run in listing.runs if not self._is_seen(run)])
        create(self.root / "mlflow.db", lambda message: None)
        run_ids = {run.run_id for run in listing.runs}
        mirrored.follow(self.root, listing.experiments, run_ids, listing.models)
        self._drop(run_ids | listing.models)
        self._complain(index(self.root, lambda message: None).wrong)

    def _complain(self, wrong: dict[str, str]) -> None:
        for path, reason in sorted(wrong.items())[:WORDED]:
            self.say(f"{path}: {reason}")
        for run_id, reason in sorted(self.unread.items())[:WORDED]:
            self.say(f"run {run_id[:8]}: its record on the server cannot be used: {reason}")
        if len(self.unread) > WORDED:
            self.say(f"and the records of {len(self.unread) - WORDED} more")

    def _is_seen(self, run: Found) -> bool:
        if run.run_id not in self.places.stamps:
            return False
        record = self.places.record(run.run_id)
        try:
            seen = files.read(record / SEEN, 200).decode()
        except RecordError:
            return False
        if seen == f"{run.digest} {GROWING}":
            # A record is uploaded after the end of its run, which the search had told.
            self._write_manifest(run, record, is_running=False)
        return seen.startswith(run.digest)

    def _read(self, runs: list[Found]) -> None:
        began_s, is_said = time.monotonic(), False
        for run in runs:
            self._read_one(run)
            if not is_said and time.monotonic() - began_s > PATIENCE_S:
                count = "1 run" if len(runs) == 1 else f"{len(runs):,} runs"
                self.say(f"reading {count} from {address.shown(self.client.uri)}")
                is_said = True

    def _read_one(self, run: Found) -> None:
        from mlflow.exceptions import MlflowException

        try:
            glimpse = self.client.read(run.run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return  # removed just now
            raise
        record = self._make_folders(run, glimpse.rows)
        lines = "".join(f"{metrics.to_line(point)}\n" for point in glimpse.points)
        files.replace(record / files.METRICS, lines.encode())
        state.write(record, State(run.run_id, glimpse.rows))
        self._write_manifest(run, record, glimpse.is_running)

    def _make_folders(self, run: Found, rows: Rows) -> Path:
        home = self.root / "mlruns" / str(rows["runs"][0]["experiment_id"])
        models = [str(model["model_id"]) for model in rows.get("logged_models", ())]
        for model_id in filter(MODEL_ID.fullmatch, models):
            (home / "models" / model_id / "artifacts").mkdir(parents=True, exist_ok=True)
        record = files.folder_of(home / run.run_id / "artifacts")
        record.mkdir(parents=True, exist_ok=True)
        return record

    def _write_manifest(self, run: Found, record: Path, is_running: bool) -> None:
        known = self._recorded(run, record) if run.captured else None
        if known is None:
            why = NOT_THERE if run.captured else UNCAPTURED
            known = manifest.new(run.run_id, WRITER, {"recorded_by": "index"}, [why])
            if not (is_running or run.captured):
                known["state"] = manifest.FINAL
        # Those digests are of the record on the server; of what is here, none is needed.
        files.write_json(record / files.MANIFEST, {**known, "files": {}})
        waits = run.captured and not manifest.is_final(known)
        seen = f"{run.digest} {GROWING if waits else COMPLETE}"
        files.replace(record / SEEN, seen.encode())

    def _recorded(self, run: Found, record: Path) -> dict[str, Any] | None:
        """Return the manifest that the run's process uploaded; None if it is not there."""
        name = f"{files.FOLDER}/{files.MANIFEST}"
        try:
            content = away.read(self.client, self.root, run.run_id, name, files.LARGEST_JSON_BYTES)
            if content is None:
                return None
            files.replace(record / files.MANIFEST, content)
            return manifest.read(record, run.run_id)
        except (RecordError, ServerError) as error:
            self.unread[run.run_id] = getattr(error, "reason", str(error))
            return None

    def _drop(self, items: set[str]) -> None:
        """Remove the files of runs and models that the server has no more."""
        for item, artifacts in scan(self.root / "mlruns").artifacts.items():
            if item not in items:
                shutil.rmtree(artifacts.parent)
