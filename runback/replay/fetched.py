"""Fetch a run of a tracking server into a store of this machine, to replay it here."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from runback.errors import NoSuchRun
from runback.remote import away
from runback.replay.original import model_folders
from runback.runs.folder import artifacts_of
from runback.runs.run import read
from runback.store.index import index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def fetch(mirror: Path, run_id: str, root: Path, tell: Callable[[str], None]) -> None:
    """Put the run's record, artifacts and models into the store in `root`, if they are not there.

    mirror: the server's. Raises NoSuchRun, NoRecord, ServerError, StoreError.
    """
    found = read(mirror, [run_id])
    if not found:
        raise NoSuchRun(run_id, mirror, 0)
    run = found[0]
    places = [artifacts_of(mirror, run.listed), *model_folders(run).values()]
    for folder in places:
        target = root / folder.parent.relative_to(mirror)
        if not target.exists():
            tell(f"fetching {folder.parent.name[:10]} from the server")
            _copy(folder, target)
    index(root, tell)


def _copy(folder: Path, target: Path) -> None:
    """Copy a run's or model's folder with all that the server has of it, whole or not at all."""
    for name in away.sizes(folder) or {}:
        away.bring(folder, name)
    draft = target.with_name(f".{target.name}.fetched")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(folder.parent, draft, symlinks=True)
    draft.rename(target)
