"""What people change of a run after it: its name, tags, note and deletion.

Each machine that changes them writes a file of its own beside the record,
`edits-<store>.json`, so that two-way rsync has no conflict. What counts is the
latest change of each field. A change is dated after all that its machine had seen
of that field, so that clocks which disagree do not turn the order around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files
from runback.record.state import LATEST_MS, is_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    # "name", "lifecycle_stage", "deleted_time" and "tag:KEY"; None for a tag is its absence.
    # Of edits alone, "model:ID" (pruned.py).
    Value = str | int | None
    Fields = Mapping[str, Value]

# Of edits alone: a checkpoint that was removed (pruned.py).
MODEL, PRUNED = "model:", "pruned"
STORE_ID = re.compile(r"[A-Za-z0-9._-]{1,80}")


@dataclass(frozen=True, order=True)
class Edit:
    """The value that a field got. time_ms: since 1970. store: whose edit; "" for the run's own."""

    time_ms: int
    store: str
    value: Value = None


def of_rows(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Value]:
    """Return the fields that the rows of MLflow's tables `runs` and `tags` hold."""
    run = rows["runs"][0]
    fields: dict[str, Value] = {
        name: run.get(name) for name in ("name", "lifecycle_stage", "deleted_time")
    }
    return {**fields, **{f"tag:{row['key']}": row["value"] for row in rows.get("tags", ())}}


def merged(
    own: Fields, since: Mapping[str, int], edits: Iterable[Mapping[str, Edit]]
) -> dict[str, Edit]:
    """Return each field's latest edit; of two at the same time, that of the later store's name.

    own: the fields as the training left them. since: when those changed that changed in its course.
    """
    latest = {field: Edit(since.get(field, 0), "", value) for field, value in own.items()}
    for changes in edits:
        for field, edit in changes.items():
            if field.startswith(MODEL):
                continue
            known = latest.get(field)
            if known is None or (known.time_ms, known.store) < (edit.time_ms, edit.store):
                latest[field] = edit
    return latest


def values(latest: Mapping[str, Edit]) -> dict[str, Value]:
    """Return the values that count, without removed tags."""
    return {
        field: edit.value
        for field, edit in latest.items()
        if edit.value is not None or not field.startswith("tag:")
    }


def changes(
    before: Fields, now: Fields, latest: Mapping[str, Edit], time_ms: int, store: str
) -> dict[str, Edit]:
    """Return the edits that turn `before` into `now`, each dated after the one that it replaces."""
    found = {}
    for field in before.keys() | now.keys():
        if before.get(field) != now.get(field):
            known = latest[field].time_ms + 1 if field in latest else 0
            found[field] = Edit(min(max(time_ms, known), LATEST_MS - 1), store, now.get(field))
    return found


def path_of(record: Path, store: str) -> Path:
    return record / f"edits-{store}.json"


def read_all(record: Path) -> tuple[dict[str, dict[str, Edit]], list[RecordError]]:
    """Return the edits of each store that left some beside the record, and what is damaged."""
    found: dict[str, dict[str, Edit]] = {}
    damaged = []
    for path in sorted(record.glob("edits-*.json")):
        store = path.name.removeprefix("edits-").removesuffix(".json")
        try:
            found[store] = _read(path, store)
        except RecordError as error:
            damaged.append(error)
    return found, damaged


def _read(path: Path, store: str) -> dict[str, Edit]:
    content = files.read_json(path).get("fields")
    if not STORE_ID.fullmatch(store) or not isinstance(content, dict):
        raise RecordError(path, "is not a file of edits")
    return {field: _edit(path, store, field, entry) for field, entry in content.items()}


def _edit(path: Path, store: str, field: str, entry: Any) -> Edit:
    time_ms: Any = entry.get("time_ms") if isinstance(entry, dict) else None
    if not is_time(time_ms):
        raise RecordError(path, f"has no time for {field!r}"[:200])
    value = entry.get("value")
    allowed = {
        "name": value is None or isinstance(value, str),
        "lifecycle_stage": value in ("active", "deleted"),
        "deleted_time": value is None or is_time(value),
    }.get(field, _is_tag(field, value) or _is_pruned(field, value))
    if not allowed:
        raise RecordError(path, f"has {value!r} for {field!r}"[:200])
    return Edit(time_ms, store, value)


def _is_tag(field: str, value: Any) -> bool:
    return field.startswith("tag:") and (value is None or isinstance(value, str))


def _is_pruned(field: str, value: Any) -> bool:
    return field.startswith(MODEL) and value == PRUNED


def write(record: Path, store: str, edits: Mapping[str, Edit]) -> None:
    """Replace this store's own file of edits."""
    fields = {
        field: {"value": edit.value, "time_ms": edit.time_ms}
        for field, edit in sorted(edits.items())
    }
    files.write_json(path_of(record, store), {"format": files.FORMAT, "fields": fields})
