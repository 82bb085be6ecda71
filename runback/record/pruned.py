"""Which checkpoints of a run were removed afterwards to free the disk.

The store that removed one notes it among its edits, as `model:ID`. That counts in this
store, and everywhere if it is the store that recorded the run: a copy of the files
somewhere else does not bring it back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runback.record.fields import MODEL, PRUNED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from runback.record.fields import Edit
    from runback.record.state import State

_TABLES = ("logged_models", "logged_model_params", "logged_model_tags", "logged_model_metrics")


def models(edits: Mapping[str, Mapping[str, Edit]], *stores: str) -> set[str]:
    """Return the ids of the models that one of these stores removed."""
    return {
        field.removeprefix(MODEL)
        for store in stores
        for field, edit in edits.get(store, {}).items()
        if field.startswith(MODEL) and edit.value == PRUNED
    }


def without(state: State, gone: Collection[str]) -> State:
    """Return what a record says of its run, without these models."""
    rows = dict(state.rows)
    for table in _TABLES:
        if table in rows:
            rows[table] = [row for row in rows[table] if row.get("model_id") not in gone]
    if "inputs" in rows:
        rows["inputs"] = [row for row in rows["inputs"] if row.get("destination_id") not in gone]
    return replace(state, rows=rows) if gone else state
