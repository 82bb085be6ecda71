"""Tell which bytes are used twice, and sweep stored content that nothing uses any more.

Content is in `.runback/objects/` once, and each file of a checkpoint is one more link
to it (checkpoints/content.py).
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = "objects"


def sweep(root: Path) -> None:
    """Remove the objects of which nothing is made any more.

    Whoever is about to use one finds it gone, and stores it anew.
    """
    for entry in _objects(root):
        if entry.stat(follow_symlinks=False).st_nlink == 1:
            Path(entry.path).unlink(missing_ok=True)


def freed_bytes(root: Path, folders: Iterable[Path]) -> int:
    """Return how many bytes the disk gets back when these folders go, and then a sweep.

    A file that has another name somewhere else frees nothing.
    """
    names = Counter[tuple[int, int]]()
    found: dict[tuple[int, int], os.stat_result] = {}
    for path in _files(folders):
        known = path.lstat()
        if stat.S_ISREG(known.st_mode):
            key = (known.st_dev, known.st_ino)
            names[key] += 1
            found[key] = known
    if any(found[key].st_nlink > count for key, count in names.items()):
        for entry in _objects(root):
            known = entry.stat(follow_symlinks=False)  # entry.inode() has no device
            key = (known.st_dev, known.st_ino)
            names[key] += key in names
    return sum(known.st_size for key, known in found.items() if known.st_nlink <= names[key])


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            yield from (Path(parent, name) for name in names)


def _objects(root: Path) -> Iterator[os.DirEntry[str]]:
    for folder in (root / ".runback" / FOLDER).glob("??"):
        with os.scandir(folder) as entries:
            yield from entries
