"""Read what DVC has noted of a data set: PATH.dvc, beside the file or folder PATH."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.dvc import stages, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUFFIX = ".dvc"
_DIGEST = re.compile(r"md5:[0-9a-f]{32}(?:\.dir)?")


@dataclass(frozen=True)
class Noted:
    """What DVC notes of a data set. digest: `md5:` and hex, of a folder ending in `.dir`.

    files: how many there are.
    """

    digest: str
    size_bytes: int
    files: int

    def text(self, name: str) -> str:
        """Return the .dvc file of a data set with this name."""
        md5 = self.digest.removeprefix("md5:")
        count = {"nfiles": self.files} if md5.endswith(".dir") else {}
        about = {"md5": md5, "size": self.size_bytes, **count, "hash": "md5", "path": name}
        return json.dumps({"outs": [about]}, ensure_ascii=False)  # which is YAML, and quotes all


@dataclass(frozen=True)
class Dataset:
    """A file or folder under DVC. file: the .dvc file."""

    file: Path
    noted: Noted


def of(path: Path) -> Dataset | None:
    """Return what DVC has noted of a path, None if nothing, or nothing that can be read.

    Before DVC 3, digests were of texts with Unix line ends: those are not taken.
    """
    file = path.with_name(path.name + SUFFIX)
    try:
        about = _only_output(file.read_bytes())
    except (OSError, ValueError):  # no name that a file can have
        return None
    if about.get("hash") != "md5" or about.get("path") != path.name:
        return None
    size, files = _count(about.get("size")), _count(about.get("nfiles", "1"))
    found = noted(f"md5:{about.get('md5')}", size, files)
    return Dataset(file, found) if found else None


def noted(digest: Any, size_bytes: Any, files: Any) -> Noted | None:
    """Return what DVC noted, if it is that: a stranger's record or .dvc file may say anything."""
    is_digest = isinstance(digest, str) and _DIGEST.fullmatch(digest)
    if is_digest and isinstance(size_bytes, int) and isinstance(files, int):
        return Noted(digest, size_bytes, files)
    return None


def used(project: Path) -> list[Path]:
    """Return the data sets under DVC that the stages of this process depend on.

    Of a path that is one, is a part of one, or, below the project, has some in it.
    """
    known, found = stages.of_process(project), list[Path]()
    for dep in sorted(known.deps - known.made.keys()):
        path = Path(os.path.normpath(project / dep))
        around = [place for place in (path, *path.parents) if place not in project.parents]
        inside = _inside(path) if project in path.parents else ()
        found += [place for place in around if _is_noted(place)] or inside
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the data sets in a folder. What is in one of them is not looked at."""
    with contextlib.suppress(ValueError):  # no name that a file can have
        for place, folders, files in os.walk(folder):
            names = {name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)}
            yield from (Path(place, name) for name in sorted(names - {""}))
            folders[:] = sorted(set(folders) - names)


def _is_noted(place: Path) -> bool:
    try:
        return place.with_name(place.name + SUFFIX).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def folder_digest(files: Mapping[str, str]) -> str:
    """Return a folder's digest as DVC 3 makes it, of its files' (hex) by relative path.

    The md5 of a JSON list, sorted by path (dvc_data.hashfile.tree.Tree).
    """
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    text = json.dumps(listed, sort_keys=True).encode()
    return f"md5:{hashlib.md5(text, usedforsecurity=False).hexdigest()}.dir"


def _only_output(text: bytes) -> dict[str, Any]:
    content = texts.parsed(text)
    outs = content.get("outs") if isinstance(content, dict) else None
    if isinstance(outs, list) and len(outs) == 1 and isinstance(outs[0], dict):
        return dict(outs[0])
    return {}


def _count(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,18}", text) else None
