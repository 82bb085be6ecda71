"""Keep files as they are now: copied once, digested, and stored once whatever their name.

Objects are plain files in `.runback/objects/`, named by their digest, and the files of
a checkpoint are hard links to them: read-only, and ordinary to rsync and to MLflow.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runback.errors import RecordError
from runback.record import files
from runback.record.checkpoint import is_name
from runback.store.identity import private_folder
from runback.store.leftovers import DRAFTS

READ_ONLY = 0o444
FOLDER, REGULAR = stat.S_IFDIR, stat.S_IFREG


@dataclass(frozen=True)
class Source:
    """A file or folder that is to be kept. files: relative to its parent, with `/`."""

    path: Path
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.name


class Draft:
    """A copy of a source in a folder of its own; it becomes durable while its digests are taken."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder = folder
        self.source = source
        self._failures: list[OSError] = []
        self._syncing = threading.Thread(target=self._sync, name="runback-sync")

    def copy(self) -> None:
        """Copy the source as it is now. Raises OSError: then nothing is left."""
        try:
            for name in self.source.files:
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.source.path.parent / name, target)
                target.chmod(READ_ONLY)
        except BaseException:
            self.close()
            raise
        self._syncing.start()

    def digests(self) -> dict[str, dict[str, Any]]:
        """Return digest and size of each file, all of them durable. Raises OSError, RecordError."""
        found = {name: files.digest(self.folder / name) for name in self.source.files}
        self._syncing.join()
        if self._failures:
            raise self._failures[0]
        return found

    def _sync(self) -> None:
        try:
            for name in self.source.files:
                _sync_file(self.folder / name)
        except OSError as error:
            self._failures.append(error)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def source_of(given: Any, root: Path, problems: list[str]) -> Source | None:
    """Look at what is to be kept; root: the store's folder, which no checkpoint can hold.

    Links to files count as those files.
    """
    try:
        path = Path(os.path.abspath(os.fspath(given) or "/"))  # noqa: PTH100 - a link keeps its own name
        mode = path.stat().st_mode
    except TypeError:
        problems.append(f"path is {given!r}, not a path"[:100])
        return None
    except (OSError, ValueError) as error:
        problems.append(f"path {str(given)!r}: {getattr(error, 'strerror', None) or error}")
        return None
    if root.resolve().is_relative_to(path.resolve()):
        problems.append(f"path {str(given)!r} holds the store {root} itself")
        return None
    if not is_name(path.name):
        problems.append(f"path {str(given)!r}: a checkpoint cannot be called {path.name!r}")
    before = len(problems)
    found = _files(path, mode, problems)
    if not found and len(problems) == before:
        problems.append(f"path {str(given)!r} holds no file")
    return Source(path, tuple(found))


def draft_of(root: Path, run_id: str, source: Source) -> Draft:
    """Return a copy of a source as it is now. Raises OSError: then nothing is left."""
    draft = Draft(private_folder(root) / DRAFTS / f"{run_id}.{secrets.token_hex(4)}", source)
    draft.copy()
    return draft


def place(root: Path, draft: Draft, digests: dict[str, dict[str, Any]], target: Path) -> None:
    """Put a draft's files into the folder `target`, stored once. Raises OSError.

    Everything below `target` is durable then, but not its name.
    """
    folders = {target}
    for name, known in digests.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.update(folder for folder in path.parents if folder.is_relative_to(target))
        _link(draft.folder / name, _object(root, known["digest"]), known, path)
    for folder in folders:
        files.sync_folder(folder)


def _link(draft: Path, stored: Path, known: dict[str, Any], target: Path) -> None:
    """Link the object to `target`; make it of the draft if it is not there, or damaged.

    An object has two names at any time, so that whoever sweeps those with one
    leaves it alone.
    """
    if _is_whole(stored, known):
        with contextlib.suppress(OSError):  # swept just now, or it has too many names
            target.hardlink_to(stored)
            return
    try:
        target.hardlink_to(draft)
    except OSError:  # another disk, or one without links
        _copy_durably(draft, target)
        return
    stored.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(stored)


def _is_whole(stored: Path, known: dict[str, Any]) -> bool:
    try:
        return files.digest(stored) == known
    except RecordError:
        return False


def _object(root: Path, digest: str) -> Path:
    word = digest.removeprefix("sha256:")
    return private_folder(root) / "objects" / word[:2] / word[2:]


def _copy_durably(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    _sync_file(target)
    target.chmod(READ_ONLY)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(path: Path, mode: int, problems: list[str]) -> list[str]:
    """Return the names of the files at or below a path, relative to its parent."""
    if stat.S_IFMT(mode) != FOLDER:
        return [path.name] if _is_readable(path, problems) else []

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: {error.strerror}")

    found = []
    for parent, folders, names in os.walk(path, onerror=unreadable):
        for name in sorted(folders):
            if Path(parent, name).is_symlink():
                problems.append(f"{Path(parent, name)} is a link to a folder")
        for name in sorted(names):
            if _is_readable(Path(parent, name), problems):
                found.append(Path(parent, name).relative_to(path.parent).as_posix())
    return found


def _is_readable(path: Path, problems: list[str]) -> bool:
    try:
        if stat.S_IFMT(path.stat().st_mode) != REGULAR:
            problems.append(f"{path} is no file or folder")
            return False
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return False
    if not os.access(path, os.R_OK):
        problems.append(f"{path} cannot be read by this user")
        return False
    return True
