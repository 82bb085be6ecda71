"""Take the digest of a data set under DVC as DVC does, without reading what DVC keeps itself."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any

from runback.dvc import datasets
from runback.launch.inside import origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runback.capture.filecache import Cache
    from runback.dvc.datasets import Dataset

# Where DVC's cache keeps a file, by its md5.
_OBJECT = re.compile(r".*/files/md5/([0-9a-f]{2})/([0-9a-f]{30})")


def describe(
    path: Path, names: Sequence[str], cache: Cache, dataset: Dataset | None
) -> dict[str, Any]:
    """Return digest (DVC's), number of files and bytes of a data set, and what DVC has noted.

    names: of its files, relative to a folder; [""] of a file. One that is linked to DVC's
    cache, which nobody writes to, is not read: the link tells its digest. Others are
    read once, for as long as they stay as they are; times alone would not do, as git
    writes an old PATH.dvc anew. Raises OSError.
    """
    found = {name: os.stat(_place(path, name)) for name in names}  # noqa: PTH116
    if odd := [name for name, status in found.items() if not stat.S_ISREG(status.st_mode)]:
        raise OSError(0, f"no regular file: {odd[0]}")
    linked = _linked(path, found, dataset)
    files = linked | {
        name: cache.digest(_place(path, name), status, "md5").removeprefix("md5:")
        for name, status in found.items()
        if name not in linked
    }
    facts = {
        "digest": f"md5:{files['']}" if "" in files else datasets.folder_digest(files),
        "files": len(found),
        "size_bytes": sum(status.st_size for status in found.values()),
    }
    if dataset is None:
        return facts
    is_hashed = len(linked) < len(found)
    about = {"file": dataset.file.name, "digest": dataset.noted.digest, "hashed": is_hashed}
    return {**facts, "dvc": about}


def _linked(
    path: Path, found: Mapping[str, os.stat_result], dataset: Dataset | None
) -> dict[str, str]:
    """Return the md5 of the files that are links to DVC's cache, symbolic or hard."""
    linked = dict[str, str]()
    objects, noted = _objects(dataset) if dataset else ("", {})
    for name, status in found.items():
        if match := _OBJECT.fullmatch(os.path.realpath(_place(path, name))):
            linked[name] = match[1] + match[2]
        elif status.st_nlink > 1 and (md5 := noted.get(name)) and _is_same(objects, md5, status):
            linked[name] = md5
    return linked


def _objects(dataset: Dataset) -> tuple[str, dict[str, str]]:
    """Return the folder of DVC's cache, and the md5 of each file that it has of the data set."""
    home = origin(dataset.file.parent)
    folders = (place / ".dvc" / "cache" / "files" / "md5" for place in (home, *home.parents))
    objects = str(next((place for place in folders if place.is_dir()), ""))
    md5 = dataset.noted.digest.removeprefix("md5:")
    if not md5.endswith(".dir"):
        return objects, {"": md5}
    try:
        with open(_object(objects, md5), "rb") as file:  # noqa: PTH123
            return objects, {str(e["relpath"]): str(e["md5"]) for e in json.load(file)}
    except (OSError, ValueError, TypeError, KeyError):
        return objects, {}


def _is_same(objects: str, md5: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(_object(objects, md5)), status)  # noqa: PTH116
    except (OSError, ValueError):
        return False


def _object(objects: str, md5: str) -> str:
    return os.path.join(objects, md5[:2], md5[2:])  # noqa: PTH118


def _place(path: Path, name: str) -> str:
    return os.path.join(path, name) if name else str(path)  # noqa: PTH118
