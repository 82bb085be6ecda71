"""Digest the data that a project declares, each file once for as long as it stays as it is."""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture import noted
from runback.capture.filecache import Cache
from runback.dvc import datasets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

# More of them are counted, not named.
UNREADABLE_MAX = 100


def declared(project: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the data paths of pyproject.toml ([tool.runback] data) and of RUNBACK_DATA.

    And the data sets under DVC that a stage of dvc.yaml depends on. Absolute, relative
    ones being the project's; each once, in that order. A file that cannot be read
    declares nothing.
    """
    words = [*_of_project(project), *environ.get("RUNBACK_DATA", "").split(os.pathsep)]
    paths = [project / os.path.expanduser(word) for word in words if word.strip()]  # noqa: PTH111
    paths += datasets.used(project)
    return list(dict.fromkeys(Path(os.path.normpath(path)) for path in paths))


def describe(
    paths: Iterable[Path], project: Path, cache: Path, as_dvc: Collection[Path] | None = None
) -> dict[str, Any]:
    """Return digest, number of files and bytes by declared path, or why it is missing.

    cache: a file that keeps what was digested before. as_dvc: the paths whose digest is
    to be DVC's, by default those that it has noted one of (PATH.dvc). Of another folder
    it is that of the lines `relative path NUL file's digest`; a link to a file counts as that file,
    a link to a folder is not followed (a declared path itself is). What cannot be
    read is named in `unreadable`, and in the digest.
    """
    known, facts = Cache(cache), dict[str, Any]()
    of_dvc = Cache(cache.with_name("digests-dvc.json"))
    for path in paths:
        shown, note = _shown(path, project), datasets.of(path)
        is_dvcs = note is not None if as_dvc is None else path in as_dvc
        found = _of_dvc(path, of_dvc, note) if is_dvcs else _described(path, known)
        facts[shown] = {"path": shown, **found}
        known.save()
        of_dvc.save()
    return facts


def _of_project(project: Path) -> list[str]:
    try:
        with (project / "pyproject.toml").open("rb") as file:
            table = tomllib.load(file)
    except (OSError, ValueError):  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        return []
    for key in ("tool", "runback", "data"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    words = [table] if isinstance(table, str) else table
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _shown(path: Path, project: Path) -> str:
    inside = path.is_relative_to(project)
    return path.relative_to(project).as_posix() if inside else str(path)


def _of_dvc(path: Path, cache: Cache, note: datasets.Dataset | None) -> dict[str, Any]:
    try:
        path = path.resolve()
        names = sorted(name for name, _ in _files(str(path))) if path.is_dir() else [""]
        return noted.describe(path, names, cache, note)
    except (OSError, RuntimeError) as error:
        return {"missing": getattr(error, "strerror", None) or str(error)}


def _described(path: Path, cache: Cache) -> dict[str, Any]:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _folder(path.resolve(), cache)
        digest, size_bytes = _file(str(path.resolve()), cache)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        return {"missing": getattr(error, "strerror", None) or str(error)}
    return {"digest": digest, "files": 1, "size_bytes": size_bytes}


def _folder(root: Path, cache: Cache) -> dict[str, Any]:
    lines, unreadable, size_bytes = list[tuple[bytes, str]](), dict[str, str](), 0
    for relative, reason in _files(str(root)):
        try:
            if reason:
                raise OSError(0, reason)
            digest, size = _file(os.path.join(root, relative), cache)  # noqa: PTH118
        except OSError as error:
            digest, size = "unreadable", 0
            unreadable[relative] = error.strerror or "unreadable"
        lines.append((os.fsencode(relative), digest))
        size_bytes += size
    whole = hashlib.sha256()
    for name, digest in sorted(lines):
        whole.update(name + f"\0{digest}\n".encode())
    count = len(lines) - len(unreadable)
    facts = {"digest": "sha256:" + whole.hexdigest(), "files": count, "size_bytes": size_bytes}
    return facts | ({"unreadable": _some(unreadable)} if unreadable else {})


def _files(root: str, folder: str = "") -> Iterator[tuple[str, str]]:
    """Yield relative path and "", or why it cannot be digested, of everything in a folder."""
    folders = [folder]
    while folders:
        place = folders.pop()
        try:
            with os.scandir(os.path.join(root, place)) as found:  # noqa: PTH118
                entries = list(found)
        except OSError as error:
            yield place or ".", error.strerror or "unreadable"
            continue
        for entry in entries:
            path = f"{place}/{entry.name}" if place else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path, "a link to a folder" if entry.is_dir() else ""


def _file(path: str, cache: Cache) -> tuple[str, int]:
    """Return digest and size of a file. Raises OSError."""
    status = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "no regular file")
    return cache.digest(path, status, "sha256"), status.st_size


def _some(unreadable: dict[str, str]) -> dict[str, str]:
    some = dict(sorted(unreadable.items())[:UNREADABLE_MAX])
    more = len(unreadable) - len(some)
    return some | ({"…": f"and {more:,} more"} if more else {})
