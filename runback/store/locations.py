"""Make every location that MLflow's tables hold right for where the files are here.

A stale one gives an empty artifact list in the UI, and no error. What the tables
say of a place outside is believed only if the files are there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from runback.store.places import has_shape_of, is_seen, local_path

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from runback.store.places import Places

# (table, column, the column that holds the id of what lies there)
_ITEMS = (
    ("runs", "artifact_uri", "run_uuid"),
    ("logged_models", "artifact_location", "model_id"),
)
_TRACES = "SELECT rowid, value, request_id FROM trace_tags WHERE key = 'mlflow.artifactLocation'"
# Locations inside something else's folder: whatever the run or model id in them says.
_INNER = (
    ("model_versions", "storage_location", "name", ""),
    ("model_versions", "source", "name", ""),
    ("tags", "value", "run_uuid", " AND key NOT LIKE 'mlflow.source.%'"),
    ("logged_model_tags", "tag_value", "model_id", " AND tag_key NOT LIKE 'mlflow.source.%'"),
)


def rewrite(connection: sqlite3.Connection, places: Places, foreign: bool = False) -> set[str]:
    """Rewrite the locations in all tables; return the ids of those that changed.

    foreign: the tables came from elsewhere; a path of theirs that leads nowhere here is dropped.
    """
    moved: set[str] = set()
    for table, column, key in _ITEMS:
        rows = connection.execute(f"SELECT rowid, {column}, {key}, experiment_id FROM {table}")
        moved |= _apply(connection, table, column, list(_changed_items(rows, places)))
    traces = [(rowid, uri, item, 0) for rowid, uri, item in connection.execute(_TRACES)]
    moved |= _apply(connection, "trace_tags", "value", list(_changed_items(traces, places)))
    moved |= _apply(
        connection,
        "experiments",
        "artifact_location",
        list(_changed_experiments(connection, places)),
    )
    for table, column, key, where in _INNER:
        # Whole values only: a path in a sentence is a sentence.
        inner = connection.execute(
            f"SELECT rowid, {column}, {key} FROM {table}"
            f" WHERE ({column} LIKE '/%/artifacts%' OR {column} LIKE 'file:/%/artifacts%'){where}"
        )
        found = [
            (places.of(uri), item, rowid) for rowid, uri, item in inner if _is_stale(uri, places)
        ]
        moved |= _apply(connection, table, column, found)
    if foreign:
        moved |= _drop_versions_outside(connection, places)
    return moved | _rewrite_datasets(connection, places)


def _drop_versions_outside(connection: sqlite3.Connection, places: Places) -> set[str]:
    moved = set[str]()
    for column in ("storage_location", "source"):
        rows = connection.execute(f"SELECT rowid, {column}, name FROM model_versions").fetchall()
        paths = [(local_path(uri), name, rowid) for rowid, uri, name in rows]
        found = [(None, n, i) for path, n, i in paths if path and not _is_inside(path, places)]
        moved |= _apply(connection, "model_versions", column, found)
    return moved


def _apply(
    connection: sqlite3.Connection,
    table: str,
    column: str,
    found: Sequence[tuple[str | None, str, int]],
) -> set[str]:
    connection.executemany(
        f"UPDATE {table} SET {column} = ? WHERE rowid = ?",
        [(uri, rowid) for uri, _, rowid in found],
    )
    return {item for _, item, _ in found}


def _changed_items(
    rows: Iterable[tuple[int, str, str, int]], places: Places
) -> Iterator[tuple[str, str, int]]:
    for rowid, uri, item, experiment_id in rows:
        right = item_location(uri, item, experiment_id, places)
        if right != uri:
            yield right, item, rowid


def item_location(uri: str | None, item: str, experiment_id: int, places: Places) -> str:
    """Return where the artifacts of a run, model or trace are, or will be, here."""
    if item in places.artifacts:
        return str(places.artifacts[item])
    path = local_path(uri)
    if uri and path is None:
        return uri  # an object store
    if path and has_shape_of(path, item) and (_is_inside(path, places) or is_seen(path)):
        return str(uri)
    return str(places.default(experiment_id, item))


def _is_inside(path: str, places: Places) -> bool:
    return Path(path).is_relative_to(places.mlruns) and ".." not in Path(path).parts


def _changed_experiments(
    connection: sqlite3.Connection, places: Places
) -> Iterator[tuple[str, str, int]]:
    rows = connection.execute("SELECT rowid, experiment_id, artifact_location FROM experiments")
    for rowid, experiment_id, uri in rows.fetchall():
        path, here = local_path(uri), places.mlruns / str(experiment_id)
        if (uri and path is None) or (path and _is_inside(path, places)):
            continue
        # What MLflow chose itself ends in mlruns/ID; what the user chose may be on a
        # disk that is not mounted just now.
        by_default = not path or Path(path).parts[-2:] == ("mlruns", str(experiment_id))
        if by_default and (here.is_dir() or not path or not is_seen(path)):
            yield str(here), f"experiment {experiment_id}", rowid


def _rewrite_datasets(connection: sqlite3.Connection, places: Places) -> set[str]:
    """Point datasets that are artifacts of a run at where these are here."""
    rows = connection.execute(
        "SELECT rowid, dataset_source, dataset_uuid FROM datasets"
        " WHERE dataset_source LIKE '%/artifacts/%'"
    ).fetchall()
    found: list[tuple[str | None, str, int]] = []
    for rowid, source, uuid in rows:
        try:
            content = json.loads(source)
            here = places.of(content["uri"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if here and here != content["uri"]:
            found.append((json.dumps({**content, "uri": here}), uuid, rowid))
    return _apply(connection, "datasets", "dataset_source", found)


def _is_stale(uri: str, places: Places) -> bool:
    return places.of(uri) not in (None, uri)
