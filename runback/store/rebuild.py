"""Make the database anew from the runs' folders; the old one is kept aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import RunbackError, StoreError
from runback.store import running
from runback.store.create import move_away
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
    old = move_away(root / "mlflow.db")
    if old:
        say(f"the old database is now {old}")
    try:
        return index(root, say, progress=progress)
    except BaseException:
        if old and not (root / "mlflow.db").exists():
            for path in sorted(old.parent.iterdir(), reverse=True):
                path.rename(root / path.name)
        raise


def _complete_records(root: Path, say: Callable[[str], None], progress: Progress) -> None:
    """Have the records hold what the old database knows, if it can still be read."""
    if (root / "mlflow.db").exists():
        try:
            index(root, say, progress=progress, thorough=True)
        except RunbackError as error:
            say(f"the old database is not read: {error}")
