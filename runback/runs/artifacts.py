"""The files of a run's folder: which there are, which one is meant, and its bytes."""

from __future__ import annotations

import difflib
import os
from codecs import getincrementaldecoder
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from runback.errors import RecordError
from runback.record import files, manifest
from runback.remote import away
from runback.runs.errors import AmbiguousFile, NoSuchFile
from runback.runs.folder import artifacts_of

if TYPE_CHECKING:
    from runback.runs.run import Run

SNIFFED_BYTES = 8_000


@dataclass(frozen=True)
class Artifact:
    """A plain file. path: relative to the run's artifact folder, with `/`."""

    folder: Path
    path: str
    size_bytes: int

    @property
    def file(self) -> Path:
        return self.folder / self.path

    def open(self) -> BinaryIO:
        """Open it for reading. Raises RecordError if it is reached through a link."""
        for parent in self.file.parents:
            if parent == self.folder:
                break
            if parent.is_symlink():
                raise RecordError(parent, "is a symbolic link: not followed")
        return os.fdopen(files.open_plain(self.file), "rb")

    def is_text(self) -> bool:
        """Say whether it can be read on a terminal: no page, and no bytes that are no text."""
        if self.path.lower().endswith((".html", ".htm", ".svg", ".xhtml", ".pdf")):
            return False
        with self.open() as file:
            start = file.read(SNIFFED_BYTES)
        try:
            # A letter may be cut in half at the end of the first bytes, and not at the file's.
            getincrementaldecoder("utf-8")().decode(start, final=len(start) < SNIFFED_BYTES)
        except UnicodeDecodeError:
            return False
        return b"\0" not in start


def of_run(root: Path, run: Run) -> list[Artifact]:
    """Return the run's artifacts, sorted, and then its record's files. Raises NoRecord.

    Links are left out: they are no files of the run.
    """
    folder = artifacts_of(root, run.listed)
    record = files.folder_of(folder)
    there = away.sizes(folder)
    if there is not None:
        names = sorted(there, key=lambda path: path.startswith(f"{files.FOLDER}/"))
        return [Artifact(folder.with_name(away.FETCHED), name, there[name]) for name in names]
    found = [path for path in manifest.plain_files(folder) if _is_plain(path)]
    if record.is_dir() and not record.is_symlink():
        found += sorted(path for path in record.iterdir() if _is_plain(path))
    return [
        Artifact(folder, path.relative_to(folder).as_posix(), os.lstat(path).st_size)
        for path in found
    ]


def named(run: Run, known: list[Artifact], name: str) -> Artifact:
    """Return the artifact of this path, or the only one whose path ends in it.

    Of a server's run it is here then. Raises NoSuchFile, AmbiguousFile, ServerError.
    """
    name = os.path.normpath(name)
    found = [artifact for artifact in known if artifact.path == name] or [
        artifact for artifact in known if artifact.path.endswith(f"/{name}")
    ]
    if not found:
        near = difflib.get_close_matches(name, [artifact.path for artifact in known])
        raise NoSuchFile(run.id, name, near, f"runback open {run.short_id}   # lists its files")
    if len(found) > 1:
        raise AmbiguousFile(run.id, name, [artifact.path for artifact in found])
    away.bring(found[0].folder, found[0].path, anew=True)
    return found[0]


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
