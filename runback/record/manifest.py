"""manifest.json: what a record consists of, and under which circumstances the run began.

Written at the run's start, so that a kill leaves the code, the command and the
environment, and again at its end, with the digests of all files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import checkpoint, files
from runback.record.fields import STORE_ID

if TYPE_CHECKING:
    from collections.abc import Container

RUNNING, FINAL = "running", "final"
# Missing, as long as it is being written.
NO_CODE = f"{files.CODE}: the process ended before it was written"


def new(run_id: str, store: str, captured: dict[str, Any], missing: list[str]) -> dict[str, Any]:
    """Return a manifest of a run that goes on. store: the only writer of the record's files."""
    head = {"format": files.FORMAT, "run_id": run_id, "store": store, "state": RUNNING}
    return {**head, **captured, "missing": missing, "files": {}, "artifacts": {}, "models": {}}


def read(record: Path, run_id: str) -> dict[str, Any]:
    """Return the manifest of the run `run_id`. Raises RecordError."""
    path = record / files.MANIFEST
    content = files.read_json(path)
    if content.get("run_id") != run_id:
        raise RecordError(path, f"is of another run, {content.get('run_id')!r}"[:200])
    store = content.get("store")
    if not isinstance(store, str) or not STORE_ID.fullmatch(store):
        raise RecordError(path, f"does not name its store, but {store!r}"[:200])
    missing = content.setdefault("missing", [])
    if not isinstance(missing, list) or not all(isinstance(what, str) for what in missing):
        raise RecordError(path, "does not list what is missing")
    for part in ("files", "artifacts", "models"):
        if not isinstance(content.get(part), dict):
            raise RecordError(path, f"has no {part}")
    return content


def is_final(manifest: dict[str, Any]) -> bool:
    return manifest.get("state") == FINAL


def finish(
    record: Path, manifest: dict[str, Any], artifacts: dict[str, Any], models: dict[str, Any]
) -> None:
    """Write the manifest of a run that has ended: with the digest of every file."""
    parts = {name: files.digest(record / name) for name in files.PARTS if (record / name).exists()}
    ended = {"state": FINAL, "files": parts, "artifacts": artifacts, "models": models}
    files.write_json(record / files.MANIFEST, {**manifest, **ended})


def digests(folder: Path, known: Container[str] = ()) -> dict[str, dict[str, Any]]:
    """Return digest and size of each file below an artifact folder, but for the record's.

    By path relative to it, with `/`; without those that are known. A file that cannot be
    read has an "error" instead; what a symbolic link points at is not looked into.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in plain_files(folder):
        name = path.relative_to(folder).as_posix()
        if name in known:
            continue
        try:
            found[name] = files.digest(path)
        except RecordError as error:
            found[name] = {"error": error.reason}
    return found


def model_digests(folder: Path, model_id: str) -> dict[str, dict[str, Any]]:
    """Return digest and size of each file of a logged model.

    Of a checkpoint those that were taken when it was kept, and that of its own
    description: a run can have thousands, and none is read again for its end.
    """
    try:
        kept = checkpoint.read(folder, model_id)
    except RecordError:
        return digests(folder)
    own = f"{files.FOLDER}/{checkpoint.NAME}"
    return {**kept.files, own: files.digest(folder / own)}


def plain_files(folder: Path) -> list[Path]:
    """Return what lies below an artifact folder and is no folder, sorted, without the record."""
    found = []
    for parent, folders, names in os.walk(folder):
        if parent == str(folder) and files.FOLDER in folders:
            folders.remove(files.FOLDER)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [Path(parent, name) for name in names + links]
    return sorted(found)
