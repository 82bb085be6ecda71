"""Keep files as they are now: copied once, digested, and stored once whatever their name.

Objects are plain files in `.runback/objects/`, named by their digest, and the files of
a checkpoint are hard links to them: read-only, and ordinary to rsync and to MLflow.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from runback.errors import RecordError
from runback.record import files
from runback.record.checkpoint import is_name
from runback.store.identity import private_folder
from runback.store.leftovers import DRAFTS

READ_ONLY = 0o444
BLOCK_BYTES = 1 << 20
# Small enough to stay in a processor's cache between the copy and the digest.
PIECE_BYTES = 1 << 18
AHEAD_BYTES = 1 << 23
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
    """A copy of a source in a folder of its own.

    Two threads digest what has been copied, and make it durable, while the rest is
    copied: on a processor with SHA instructions and two cores, the digest costs no time.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder = folder
        self.source = source
        self._digesting = ThreadPoolExecutor(1, thread_name_prefix="runback-digest")
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="runback-sync")
        self._synced: list[Future[None]] = []
        self._digests: dict[str, Future[dict[str, Any]]] = {}

    def copy(self) -> None:
        """Copy the source as it is now. Raises OSError: then nothing is left."""
        try:
            for name in self.source.files:
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._copy(name, target)
                self._synced.append(self._syncing.submit(_sync_file, target))
        except BaseException:
            self.close()
            raise

    def _copy(self, name: str, target: Path) -> None:
        block = memoryview(bytearray(BLOCK_BYTES))
        copied: SimpleQueue[int] = SimpleQueue()
        with (self.source.path.parent / name).open("rb", 0) as source, target.open("xb", 0) as copy:
            os.fchmod(copy.fileno(), READ_ONLY)
            size_bytes = begun_bytes = 0
            try:
                self._digests[name] = self._digesting.submit(_digest, target, copied)
                while count := source.readinto(block):
                    _write(copy, block[:count])
                    copied.put(count)
                    size_bytes += count
                    if size_bytes - begun_bytes >= AHEAD_BYTES:
                        begin = self._syncing.submit(
                            _begin_to_write, target, begun_bytes, size_bytes
                        )
                        self._synced.append(begin)
                        begun_bytes = size_bytes
            finally:
                copied.put(0)

    def digests(self) -> dict[str, dict[str, Any]]:
        """Return digest and size of each file, all of them durable. Raises OSError."""
        for synced in self._synced:
            synced.result()
        return {name: digest.result() for name, digest in self._digests.items()}

    def close(self) -> None:
        for pool in (self._digesting, self._syncing):
            pool.shutdown(cancel_futures=True)  # an open file would keep its room on the disk
        shutil.rmtree(self.folder, ignore_errors=True)


def source_of(given: Any, root: Path, problems: list[str]) -> Source | None:
    """Look at what is to be kept; root: the store's folder, which no checkpoint can hold.

    Links to files count as those files.
    """
    if given == "":
        problems.append("path is empty")
        return None
    try:
        path = Path(os.path.abspath(os.fspath(given)))  # noqa: PTH100 - a link keeps its own name
        mode = path.stat().st_mode
    except TypeError:
        problems.append(f"path is {given!r}, not a path"[:100])
        return None
    except (OSError, ValueError) as error:
        problems.append(f"path {str(given)!r}: {getattr(error, 'strerror', None) or error}")
        return None
    stores = (root, root / "mlruns", root / ".runback")
    if any(folder.resolve().is_relative_to(path.resolve()) for folder in stores):
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


def _write(file: RawIOBase, block: memoryview) -> None:
    while block:
        block = block[file.write(block) or 0 :]


def _digest(path: Path, copied: SimpleQueue[int]) -> dict[str, Any]:
    """Digest what has been copied of a file, as the numbers of bytes come in; 0 is its end."""
    digest, size_bytes = hashlib.sha256(), 0
    piece = memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", 0) as file:
        for left in iter(copied.get, 0):
            size_bytes += left
            while left and (count := file.readinto(piece[:left])):
                digest.update(piece[:count])
                left -= count
    return {"digest": f"sha256:{digest.hexdigest()}", "size_bytes": size_bytes}


def _begin_to_write(path: Path, first: int, end: int) -> None:
    """Have the disk begin with what was copied, while the rest is."""
    if hasattr(os, "posix_fadvise"):  # what is not on the disk yet stays in memory
        with path.open("rb", 0) as file:
            os.posix_fadvise(file.fileno(), first, end - first, os.POSIX_FADV_DONTNEED)


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
