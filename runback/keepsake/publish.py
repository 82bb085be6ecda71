"""Put drafts in their place: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Iterator

# On the disk of mlruns/, for renames; two folders deep, where nobody looks for a run.
_DRAFTS = Path(".importing", "drafts")


@contextmanager
def drafts(mlruns: Path) -> Iterator[Path]:
    """Give a folder for drafts, without those of a killed import; it is removed afterwards.

    One import at a time: its caller holds a lock.
    """
    folder = mlruns / _DRAFTS
    if folder.parent.is_symlink():
        folder.parent.unlink()
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def publish(draft: Path, target: Path) -> None:
    """Rename a folder to where it belongs, durable when this returns. Its files are synced."""
    for parent, _, _ in os.walk(draft):
        files.sync_folder(Path(parent))
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(target)
    for folder in (target.parent, target.parent.parent):
        files.sync_folder(folder)
