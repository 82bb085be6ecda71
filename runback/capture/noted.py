"""Take the digest of a data set under DVC from DVC's own note, while that can be believed."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

from runback.dvc import datasets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runback.capture.filecache import Cache
    from runback.dvc.datasets import Dataset

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def describe(
    path: Path, names: Sequence[str], cache: Cache, dataset: Dataset | None
) -> dict[str, Any]:
    """Return digest (DVC's), number of files and bytes of a data set, and what DVC has noted.

    names: of its files, relative to a folder; [""] of a file. They are not read where
    number and sizes are as noted and none is younger than the note, as git takes its
    index to be true; `hashed` says whether they were. Raises OSError.
    """
    found = {name: os.stat(_place(path, name)) for name in names}  # noqa: PTH116
    if odd := [name for name, status in found.items() if not stat.S_ISREG(status.st_mode)]:
        raise OSError(0, f"no regular file: {odd[0]}")
    size_bytes = sum(status.st_size for status in found.values())
    youngest_ns = max((status.st_mtime_ns for status in found.values()), default=0)
    facts = {"files": len(found), "size_bytes": size_bytes}
    if dataset is None:
        return {"digest": _digest(path, found, cache), **facts}
    noted = dataset.noted
    is_as_noted = youngest_ns <= dataset.noted_ns and (
        (len(found), size_bytes) == (noted.files, noted.size_bytes)
    )
    digest = noted.digest if is_as_noted else _digest(path, found, cache)
    about = {"file": dataset.file.name, "digest": noted.digest, "hashed": not is_as_noted}
    return {"digest": digest, **facts, "dvc": about}


def _digest(path: Path, found: dict[str, os.stat_result], cache: Cache) -> str:
    files = {name: _file(_place(path, name), status, cache) for name, status in found.items()}
    return f"md5:{files['']}" if "" in files else datasets.folder_digest(files)


def _file(path: str, status: os.stat_result, cache: Cache) -> str:
    """Return a file's md5, from the cache if it is as it was."""
    if known := cache.get(path, status):
        return known.removeprefix("md5:")
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        after = os.fstat(file.fileno())
    cache.put(path, status, after, f"md5:{digest}")
    return digest


def _place(path: Path, name: str) -> str:
    return os.path.join(path, name) if name else str(path)  # noqa: PTH118
