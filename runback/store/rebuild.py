"""Make the database anew from the runs' folders; the old one is kept aside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runback.errors import RunbackError, StoreError
from runback.store import running
from runback.store.identity import private_folder
from runback.store.index import index, quiet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runback.store.index import Progress
    from runback.store.report import Report


def rebuild(root: Path, say: Callable[[str], None], progress: Progress = quiet) -> Report:
    """Move `mlflow.db` to `.runback/replaced/` and index all records into a new one.

    What the old one knew and no record says (experiments and registered models without
    a run, traces without one) is in the file that was moved, and there alone.
    Raises StoreError while runs of this store are being recorded: they log to the old one.
    """
    live, _ = running.runs(root)
    if live:
        raise StoreError(
            f"{len(live)} runs are going on in {root}, which log to mlflow.db",
            "runback index --rebuild, when they have ended",
        )
    _complete_records(root, say, progress)
    moved = _move_away(root, say)
    try:
        return index(root, say, progress=progress)
    except BaseException:
        for path, aside in moved if not (root / "mlflow.db").exists() else ():
            aside.rename(path)
        raise


def _complete_records(root: Path, say: Callable[[str], None], progress: Progress) -> None:
    """Have the records hold what the old database knows, if it can still be read."""
    if (root / "mlflow.db").exists():
        try:
            index(root, say, progress=progress)
        except RunbackError as error:
            say(f"the old database is not read: {error}")


def _move_away(root: Path, say: Callable[[str], None]) -> list[tuple[Path, Path]]:
    folder = private_folder(root) / "replaced" / time.strftime("%Y%m%d-%H%M%S")
    moved = []
    # -wal and -shm belong to their database: beside another one they would damage it.
    for path in sorted(root.glob("mlflow.db*")):
        if path.name in ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlflow.db-journal"):
            folder.mkdir(parents=True, exist_ok=True)
            moved.append((path, folder / path.name))
            path.rename(folder / path.name)
    if moved:
        say(f"the old database is now {folder / 'mlflow.db'}")
    return moved
