"""Compare the files of two folders: by digest, and where those differ by what is in them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.errors import RecordError
from runback.evidence import volatile
from runback.evidence.case import Case
from runback.evidence.finding import (
    ARTIFACTS,
    ASIDE,
    EXTRA,
    KILLED,
    MISSING,
    NOT_AGAIN,
    SAME,
    UNKNOWN,
    Finding,
)
from runback.evidence.inside import look
from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runback.evidence.own import Own
    from runback.evidence.side import Digests, Wish


@dataclass(frozen=True)
class Folders:
    """Two folders that should hold the same.

    part: of the findings. prefix: of their names. digests: of each. paths: where they
    are, None where they are not here. real: names of files that are not those of the digests.
    """

    part: str
    prefix: str
    digests: tuple[Digests, Digests]
    paths: tuple[Path | None, Path | None]
    owns: tuple[Own, Own]
    wish: Wish
    real: tuple[Mapping[str, str], Mapping[str, str]] = field(default_factory=lambda: ({}, {}))


def compare(folders: Folders) -> Iterator[Finding]:
    """Yield what is found of each file of either folder."""
    recorded, replayed = folders.digests
    for name in sorted(recorded.keys() | replayed.keys()):
        found = _file(folders, name, recorded.get(name), replayed.get(name))
        glob = volatile.ignored(name, folders.wish.ignore)
        if glob and any(finding.status != SAME for finding in found):
            yield Finding(folders.part, folders.prefix + name, ASIDE, detail=f"as asked: {glob}")
        else:
            yield from found


def _file(
    folders: Folders, name: str, one: dict[str, Any] | None, other: dict[str, Any] | None
) -> list[Finding]:
    shown = folders.prefix + name
    if one is None or other is None:
        return [_alone(folders, shown, one is None)]
    if reason := one.get("error") or other.get("error"):
        return [Finding(folders.part, shown, UNKNOWN, detail=str(reason))]
    size = one.get("size_bytes")
    if one == other and one.get("digest"):
        return [Finding(folders.part, shown, SAME, count=size if type(size) is int else 1)]
    with ExitStack() as stack:
        try:
            a, b = (
                stack.enter_context(_opened(path, names.get(name, name)))
                for path, names in zip(folders.paths, folders.real, strict=True)
            )
        except RecordError as error:
            return [_unknown(folders, shown, error)]
        terms = folders.wish.tolerance, folders.owns
        return [*look(Case(folders.part, shown, a, b, name.rsplit("/", 1)[-1], *terms))]


def _alone(folders: Folders, shown: str, is_extra: bool) -> Finding:
    wish = folders.wish
    if not is_extra:
        # Of a run that was gone on with, `compare` knows what the last process left.
        if folders.part == ARTIFACTS and wish.from_step is not None and not wish.is_resumed:
            detail = NOT_AGAIN.format(wish.from_step)
            return Finding(folders.part, shown, UNKNOWN, detail=detail)
        return Finding(folders.part, shown, MISSING)
    if wish.is_partial:
        return Finding(folders.part, shown, ASIDE, detail=KILLED)
    return Finding(folders.part, shown, EXTRA)


def _unknown(folders: Folders, shown: str, error: RecordError) -> Finding:
    detail = f"its digests differ, and {error.path.name} {error.reason}: not looked into"
    return Finding(folders.part, shown, UNKNOWN, detail=detail)


def _opened(folder: Path | None, name: str) -> BinaryIO:
    """Open a file of a folder for reading, through no link. Raises RecordError."""
    from pathlib import Path

    if folder is None:
        raise RecordError(Path(name), "is not here")
    if not files.is_inside(name):
        raise RecordError(folder / "?", f"is called {name!r}, which leads out of its folder"[:200])
    path = folder / name
    for parent in [*path.parents][: name.count("/") + 1]:
        if parent.is_symlink():
            raise RecordError(parent, "is a symbolic link")
    return os.fdopen(files.open_plain(path), "rb")
