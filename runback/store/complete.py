"""Write a run's record from MLflow's tables: all that the database knows and the record lacks.

For runs that ended without their process writing the end (kill -9, os._exit), that
were logged to afterwards, or that nobody captured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files, manifest, metrics, state
from runback.record.state import State

if TYPE_CHECKING:
    from pathlib import Path

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
    record.mkdir(parents=True, exist_ok=True)
    rows = reader.rows(run_id)
    known = _manifest(record, run_id, store)
    final = manifest.is_final(known)
    grew = write_points(record, reader.points(run_id)[0])
    changed = write_state(record, run_id, rows, keep_fields=final)
    if killed and not final:
        known["missing"] = [*known["missing"], KILLED]
    if rows["runs"][0]["status"] == "RUNNING":
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
        rows = {**rows, "runs": [_with_fields_of(before.rows["runs"][0], rows["runs"][0])]}
        rows["tags"] = before.rows.get("tags", [])
    if before and before.rows == {name: found for name, found in rows.items() if found}:
        return False
    state.write(record, State(run_id, rows, since))
    return True


def _state(record: Path, run_id: str) -> State | None:
    try:
        return state.read(record, run_id)
    except RecordError:
        return None  # missing or damaged: the database is whole


def _with_fields_of(before: Row, now: Row) -> Row:
    kept = ("name", "lifecycle_stage", "deleted_time")
    return {**now, **{column: before.get(column) for column in kept}}


def _sweep(record: Path) -> None:
    """Remove what a killed writer had begun."""
    for draft in record.glob(".*.draft"):
        draft.unlink()


def finish(record: Path, known: dict[str, Any], places: Places, rows: Rows) -> None:
    """Write the manifest of an ended run, with the digests of its artifacts and models."""
    models = {
        str(row["model_id"]): manifest.digests(places.artifacts[row["model_id"]])
        for row in rows.get("logged_models", ())
        if row["model_id"] in places.artifacts
    }
    manifest.finish(record, known, manifest.digests(record.parent), models)
