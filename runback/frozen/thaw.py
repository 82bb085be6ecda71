"""Unpack a frozen run into a store of its own."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.frozen.contents import BESIDE, DATA, MLRUNS, NAME
from runback.frozen.errors import NoRoom
from runback.record import files
from runback.store.index import index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from runback.frozen.contents import Contents
    from runback.frozen.source import Source

    Tell = Callable[[str], None]

FOLDER = "replays"


def place(store: Path, contents: Contents) -> Path:
    """Return the folder of the store that a frozen run is unpacked into."""
    return store / FOLDER / f"frozen-{contents.run_id[:8]}"


def thaw(source: Source, root: Path, tell: Tell) -> None:
    """Make `root` a store that has the frozen run and its data.

    What is there and whole is left alone, replays of before too; what a killed call left
    half is written again. Raises ArchiveDamaged, NoRoom, RecordError, StoreError.
    """
    root.mkdir(parents=True, exist_ok=True)
    if not (root.parent / ".gitignore").exists():
        files.replace(root.parent / ".gitignore", b"*\n")
    contents = source.contents
    (root / MLRUNS).mkdir(exist_ok=True)
    write(source, root, contents.below(MLRUNS, DATA, BESIDE), tell)
    for about in contents.data.values():
        if "at" in about and not about.get("files"):  # an empty folder
            (root / about["at"]).mkdir(parents=True, exist_ok=True)
    files.write_json(root / NAME, contents.as_object())
    index(root, tell)


def write(source: Source, root: Path, names: Iterable[str], tell: Tell) -> None:
    """Write these files of a frozen run below `root`, but for those that are there and whole."""
    missing = [name for name in names if not _is_whole(source, root, name)]
    if not missing:
        return
    count = "1 file" if len(missing) == 1 else f"{len(missing)} files"
    tell(f"unpacking {count} of {source.path} into {root}")
    with _worded(root, source):
        for name in missing:
            _write(source, root, name)


def _is_whole(source: Source, root: Path, name: str) -> bool:
    _refuse_links(root, name)
    try:
        return files.digest(root / name) == source.contents.files[name]
    except RecordError:
        return False


def _refuse_links(root: Path, name: str) -> None:
    """Raise RecordError if a folder on the way has become a symbolic link since."""
    for folder in (root / name).parents:
        if folder == root:
            return
        if folder.is_symlink():
            raise RecordError(folder, "is a symbolic link: not followed")


def _write(source: Source, root: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft"[-255:])
    draft.unlink(missing_ok=True)
    try:
        with files.open_new(draft) as file:
            for block in source.blocks(name):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _worded(root: Path, source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoRoom(root, f"what is in {source.path}") from error
