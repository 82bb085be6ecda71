"""Adopt registered models: their names are shared, their version numbers are each machine's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runback.store.places import local_path

if TYPE_CHECKING:
    from runback.record.state import Row, State
    from runback.store.places import Places
    from runback.store.rows import Writer

Version = tuple[str, int]


def adopt_versions(write: Writer, state: State, places: Places) -> None:
    """Insert the versions that came from this run; one whose number is taken gets the next.

    A version is told by its name and the millisecond of its making, which stay when
    MLflow deletes it: a deleted one does not come back.
    """
    numbers: dict[Version, int] = {}
    for row in state.rows["model_versions"]:
        name, number = row.get("name"), row.get("version")
        if isinstance(name, str) and name and type(number) is int and number > 0:
            _model(write, state, name)
            here = _version(write, row, state.run_id, places)
            sql = "SELECT run_id FROM model_versions WHERE name = ? AND version = ?"
            if write.one(sql, name, here) == state.run_id:
                numbers[name, number] = here
    for table, guard in (("model_version_tags", ""), ("registered_model_aliases", "0")):
        for row in state.rows.get(table, ()):
            if (known := numbers.get((str(row.get("name")), row.get("version", 0)))) is not None:
                write.upsert(table, [{**_here(row), "version": known}], guard=guard)
    _renumber_tags(write, state, numbers)


def _here(row: Row) -> Row:
    """Return the row without its workspace, which is a server's."""
    return {column: value for column, value in row.items() if column != "workspace"}


def _model(write: Writer, state: State, name: str) -> None:
    for table in ("registered_models", "registered_model_tags"):
        rows = [_here(row) for row in state.rows.get(table, ()) if row.get("name") == name]
        write.upsert(table, rows, guard="0")
    write.upsert("registered_models", [{"name": name}], guard="0")  # if the record has it not


def _version(write: Writer, row: Row, run_id: str, places: Places) -> int:
    name, made = row["name"], row.get("creation_time")
    known = write.one(
        "SELECT version FROM model_versions WHERE name = ? AND creation_time = ?", name, made
    )
    if known is not None:
        return int(known)
    number = row["version"]
    if write.one("SELECT 1 FROM model_versions WHERE name = ? AND version = ?", name, number):
        number = write.one("SELECT MAX(version) + 1 FROM model_versions WHERE name = ?", name)
    new = {**_here(row), "version": number, "run_id": run_id}
    for column in ("source", "storage_location"):
        new[column] = _inside(row.get(column), places)
    write.upsert("model_versions", [new])
    return int(number)


def _inside(uri: Any, places: Places) -> str | None:
    """Return a location as it is here, or will be; None for a path that is no run's or model's."""
    if not isinstance(uri, str) or local_path(uri) is None:
        return uri if isinstance(uri, str) else None
    return places.of(uri) or places.later(uri)


def _renumber_tags(write: Writer, state: State, numbers: dict[Version, int]) -> None:
    """Correct the tag by which MLflow's UI goes from a logged model to its versions."""
    if all(old == new for (_, old), new in numbers.items()):
        return
    for row in state.rows.get("logged_model_tags", ()):
        if row.get("tag_key") == "mlflow.modelVersions":
            try:
                entries = json.loads(row["tag_value"])
                for entry in entries:
                    entry["version"] = numbers.get(
                        (entry["name"], int(entry["version"])), entry["version"]
                    )
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                continue
            write.connection.execute(
                "UPDATE logged_model_tags SET tag_value = ? WHERE model_id = ? AND tag_key ="
                " 'mlflow.modelVersions' AND model_id IN"
                " (SELECT model_id FROM logged_models WHERE source_run_id = ?)",
                [json.dumps(entries), row.get("model_id"), state.run_id],
            )
