"""Remove folders of runs and models that MLflow's tables list no more.

What is to go is noted in the transaction that takes its rows away. So nothing that
is listed is ever half there, and what a kill left is removed by the next command.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.record import files
from runback.record.state import RUN_ID
from runback.store import objects, running
from runback.store.identity import private_folder
from runback.store.places import MODEL_ID, TRACE_ID, has_shape_of, local_path
from runback.store.schema import has_table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

FOLDER = "trash"
_ROW = "trash"  # in runback_store
_IDS = (RUN_ID, MODEL_ID, TRACE_ID)


def folder_of(uri: str | None, item: str) -> Path | None:
    """Return the folder of a run, model or trace, by where its artifacts are.

    None if it is not here: on an object store, not copied, or reached through a link.
    """
    path = local_path(uri)
    if not path or not has_shape_of(path, item):
        return None
    try:
        files.refuse_links(files.folder_of(Path(path)))
    except RecordError:
        return None
    return Path(path).parent if Path(path).parent.is_dir() else None


def add(connection: sqlite3.Connection, folders: Mapping[str, Path]) -> None:
    """Note in the caller's transaction which folders are to go, by the id of what they hold."""
    noted = {**_noted(connection), **{item: str(path) for item, path in folders.items()}}
    connection.execute(
        "INSERT OR REPLACE INTO runback_store VALUES (?, ?)", [_ROW, json.dumps(noted)]
    )


def empty(root: Path, connection: sqlite3.Connection) -> dict[str, str]:
    """Remove what is noted, and content that nothing uses; return what could not be, and why."""
    noted = _noted(connection)
    if not noted:
        return {}
    stuck: dict[str, tuple[str, str]] = {}
    for item, path in noted.items():
        try:
            _remove(root, item, path)
        except OSError as error:
            stuck[item] = (path, f"cannot be removed: {error.strerror} ({error.filename})")
    objects.sweep(root)
    left = {item: path for item, (path, _) in stuck.items()}
    connection.execute(
        "UPDATE runback_store SET value = ? WHERE name = ?", [json.dumps(left), _ROW]
    )
    return dict(stuck.values())


def _remove(root: Path, item: str, path: str) -> None:
    target = private_folder(root) / FOLDER / item
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    # A database can be anybody's: it names nothing but a folder of this run or model.
    if folder := folder_of(f"{path}/artifacts", item):
        try:
            folder.rename(target)  # whole, or not at all
        except OSError:  # on another disk
            target = folder
        shutil.rmtree(target)
    if RUN_ID.fullmatch(item):
        running.remove(root, item)


def _noted(connection: sqlite3.Connection) -> dict[str, str]:
    if not has_table(connection, "runback_store"):
        return {}
    row = connection.execute("SELECT value FROM runback_store WHERE name = ?", [_ROW]).fetchone()
    try:
        noted = json.loads(row[0] if row else "{}").items()
    except (ValueError, TypeError, AttributeError):
        return {}
    # A database can be anybody's: what is not such an id may be the path of any folder.
    return {item: str(path) for item, path in noted if any(known.fullmatch(item) for known in _IDS)}
