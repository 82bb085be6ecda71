"""Write a run's record from MLflow's tables: all that the database knows and the record lacks.

For runs that ended without their process writing the end (kill -9, os._exit), that
were logged to afterwards, or that nobody captured.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files, manifest, metrics, state
from runback.record.state import State
from runback.store.places import has_shape_of, is_seen, local_path
from runback.store.tables import KEYS

if TYPE_CHECKING:
    from runback.record.state import Row, Rows
    from runback.store.export import Reader
    from runback.store.places import Places

UNCAPTURED = "its start was not captured: no code, command, environment, machine or randomness"
KILLED = "its process ended without a word: output and files may lack the last moments"


def complete(reader: Reader, places: Places, run_id: str, store: str, killed: bool = False) -> bool:
    """Bring the record of a run of this store up to what the database has.

    Say whether there was anything to write. The digests of a run that has ended are taken anew.
    Raises RecordError if a file that is there cannot be used, OSError if none can be written.
    """
    record = places.record(run_id)
    files.refuse_links(record)
    record.mkdir(parents=True, exist_ok=True)
    rows = reader.rows(run_id)
    known = _manifest(record, run_id, store)
    final = manifest.is_final(known)
    grew = write_points(record, reader.points(run_id)[0])
    changed = write_state(record, run_id, rows, keep_fields=final)
    if killed and not final:
        known["missing"] = [*known["missing"], KILLED]
    if rows["runs"][0]["status"] == "RUNNING" and not final:
        files.write_json(record / files.MANIFEST, {**known, "state": manifest.RUNNING})
        return grew or changed
    if grew or changed or not final:
        _sweep(record)
        finish(record, known, places, rows)
        return True
    return False


def _manifest(record: Path, run_id: str, store: str) -> dict[str, Any]:
    if (record / files.MANIFEST).exists():
        known = manifest.read(record, run_id)
        if manifest.NO_CODE in known["missing"] and (record / files.CODE).exists():
            known["missing"] = [what for what in known["missing"] if what != manifest.NO_CODE]
        return known
    return manifest.new(run_id, store, {"recorded_by": "index"}, [UNCAPTURED])


def write_points(record: Path, points: list[metrics.Point]) -> bool:
    """Append the points that metrics.jsonl lacks, or write it anew; say whether it changed."""
    path = record / files.METRICS
    try:
        have = [p for block in metrics.read(path) for p in block] if path.exists() else []
    except RecordError:
        have = []
        path.unlink()
    if points[: len(have)] != have:
        # Row numbers were given anew (VACUUM), or the file is another's.
        known = set(points)
        points = [p for p in have if p not in known] + points
        path.unlink()
        have = []
    return metrics.append(path, points[len(have) :]) > 0


def write_state(record: Path, run_id: str, rows: Rows, keep_fields: bool) -> bool:
    """Replace run.json if the rows differ from it; say whether they did.

    keep_fields: name, tags and deletion stay as the run left them; what was changed
    afterwards is in the edits.
    """
    before = _state(record, run_id)
    since: dict[str, int] = before.since if before else {}
    if keep_fields and before:
        rows = _grown(before.rows, rows)
    if before and before.rows == {name: found for name, found in rows.items() if found}:
        return False
    state.write(record, State(run_id, rows, since))
    return True


def _state(record: Path, run_id: str) -> State | None:
    try:
        return state.read(record, run_id)
    except RecordError:
        return None  # missing or damaged: the database is whole


def _grown(before: Rows, now: Rows) -> Rows:
    """Return the rows of a run that has ended: nothing of its record is lost to an older database.

    Such as a backup that was put back, where the run still goes on.
    """
    run, then = now["runs"][0], before["runs"][0]
    if run["status"] == "RUNNING":
        run = {**run, "status": then.get("status")}
    ends = [row["end_time"] for row in (run, then) if state.is_time(row.get("end_time"))]
    run = {**run, "end_time": max(ends, default=None)}
    kept = {column: then.get(column) for column in ("name", "lifecycle_stage", "deleted_time")}
    merged = {table: union(table, before.get(table, []), rows) for table, rows in now.items()}
    only_before = {table: rows for table, rows in before.items() if table not in now}
    return {**only_before, **merged, "runs": [{**run, **kept}], "tags": before.get("tags", [])}


def union(table: str, before: list[Row], now: list[Row]) -> list[Row]:
    """Return the rows of `now`, and those of `before` whose primary key is not among them."""
    key = KEYS.get(table, ())
    known = {tuple(row.get(column) for column in key) for row in now}
    return [*now, *(row for row in before if tuple(row.get(c) for c in key) not in known)]


def _sweep(record: Path) -> None:
    """Remove what a killed writer had begun."""
    for draft in record.glob(".*.draft"):
        draft.unlink()


def finish(record: Path, known: dict[str, Any], places: Places, rows: Rows) -> None:
    """Write the manifest of an ended run, with the digests of its artifacts and models."""
    folders = {
        str(row["model_id"]): places.artifacts.get(row["model_id"]) or _elsewhere(row)
        for row in rows.get("logged_models", ())
    }
    models = {
        name: manifest.model_digests(folder, name) for name, folder in folders.items() if folder
    }
    manifest.finish(record, known, manifest.digests(record.parent), models)


def _elsewhere(model: Row) -> Path | None:
    """Return the folder of a model outside `mlruns/`, where its experiment keeps it."""
    path = local_path(model["artifact_location"])
    known = path and has_shape_of(path, str(model["model_id"])) and is_seen(path)
    return Path(path) if path and known else None
