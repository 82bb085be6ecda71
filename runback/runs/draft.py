"""A folder that is filled beside the one it becomes, so that nobody sees half of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from runback.errors import RecordError
from runback.record import files
from runback.runs.errors import CannotReplace, FolderTaken, WrongDigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MARK = ".runback-draft-"
_IGNORE = ".gitignore"


@dataclass
class Draft:
    """The draft of the folder `target`. names: of the files in it, relative, with `/`."""

    folder: Path
    target: Path
    names: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)

    def write(
        self,
        name: str,
        blocks: Iterable[bytes],
        source: Path,
        expected: str,
        executable: bool = False,
    ) -> None:
        """Write a file, durable when this returns. Raises WrongDigest, naming its source."""
        found = hashlib.sha256()
        with self._open(name, executable) as handle:
            for block in blocks:
                found.update(block)
                handle.write(block)
            handle.flush()
            os.fsync(handle.fileno())
        _compare(source, name, expected, found.hexdigest())
        self.names.append(name)

    def link(self, name: str, target: str, source: Path, expected: str) -> None:
        """Note a symbolic link, made when all files are written: none is written through it."""
        _compare(source, name, expected, hashlib.sha256(os.fsencode(target)).hexdigest())
        self.links[name] = target

    def publish(self, overwrite: bool) -> None:
        """Let the draft become the folder; or each of its files one of the folder's.

        overwrite: into a folder that has files already. Raises FolderTaken,
        CannotReplace, RecordError at a link that leads out.
        """
        self._make_links()
        for folder, _, _ in os.walk(self.folder):
            files.sync_folder(Path(folder))
        if self._is_new():
            self.folder.rename(self.target)
        else:
            refuse_taken(self.target, overwrite)
            self._replace_each()
        files.sync_folder(self.target.parent)

    def _open(self, name: str, executable: bool) -> BinaryIO:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o777 if executable else 0o666
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, mode), "wb")

    def _make_links(self) -> None:
        for name, target in self.links.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
            self.names.append(name)
        inside = os.path.realpath(self.folder)
        for name, target in self.links.items():
            # All links are there: a chain of them that leads out is seen too.
            real = Path(os.path.realpath(self.folder / name))
            if target.startswith("/") or not real.is_relative_to(inside):
                raise RecordError(
                    Path(name), f"is a symbolic link out of its folder: {target!r}"[:200]
                )

    def _is_new(self) -> bool:
        """Say whether one rename is enough; a shell that stands in an empty folder stays there."""
        if not os.path.lexists(self.target):
            return True
        return _is_empty(self.target) and not self.target.samefile(Path.cwd())

    def _replace_each(self) -> None:
        for name in self.names:
            _refuse_irreplaceable(self.target, name)
        folders = {self.target}
        for name in self.names:
            path = self.target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).replace(path)
            folders.update(folder for folder in path.parents if folder.is_relative_to(self.target))
        for folder in folders:
            files.sync_folder(folder)


def _compare(source: Path, name: str, expected: str, found: str) -> None:
    if f"sha256:{found}" != expected:
        raise WrongDigest(source, name, expected, f"sha256:{found}")


@contextmanager
def drafted(target: Path, ignored: bool) -> Iterator[Draft]:
    """Give a draft of `target`; what is not published is removed, and folders made for it.

    A draft that a killed process left is removed by the next of the same target.
    ignored: keep git away from what lies beside.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    if ignored and not os.path.lexists(target.parent / _IGNORE):
        files.replace(target.parent / _IGNORE, b"*\n")
    _sweep(target)
    folder, handle = _new(target)
    try:
        yield Draft(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
        if not os.path.lexists(target):
            _remove(made)


def _remove(made: list[Path]) -> None:
    for folder in made:
        if [path.name for path in folder.iterdir()] == [_IGNORE]:
            (folder / _IGNORE).unlink()
        with contextlib.suppress(OSError):  # somebody put something there
            folder.rmdir()


def refuse_taken(target: Path, overwrite: bool) -> None:
    """Raise FolderTaken if something is there that would be overwritten."""
    if os.path.lexists(target) and not (
        target.is_dir() and (overwrite or _is_empty(target)) and not target.is_symlink()
    ):
        raise FolderTaken(target, is_folder=target.is_dir())


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())


def _refuse_irreplaceable(target: Path, name: str) -> None:
    path = target / name
    if path.is_dir() and not path.is_symlink():
        raise CannotReplace(path, "is a folder, and a file in the checkout")
    for folder in path.parents:
        if folder == target:
            return
        if folder.is_symlink() or (os.path.lexists(folder) and not folder.is_dir()):
            raise CannotReplace(folder, "is no folder, and one in the checkout")


def _new(target: Path) -> tuple[Path, int]:
    """Make a draft; whoever holds its lock is at work on it, and kill -9 lets go of it."""
    while True:
        folder = target.with_name(f".{target.name}{_MARK}{secrets.token_hex(4)}")
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):  # swept before it was locked
            handle = _opened(folder)
            # Where folders have no locks (NFS), nothing is swept.
            if _locked(handle) is not False and folder.exists():
                return folder, handle
            os.close(handle)


def _sweep(target: Path) -> None:
    for folder in target.parent.iterdir():
        if folder.name.startswith(f".{target.name}{_MARK}"):
            with contextlib.suppress(OSError):
                handle = _opened(folder)
                if _locked(handle):
                    shutil.rmtree(folder, ignore_errors=True)
                os.close(handle)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _locked(handle: int) -> bool | None:
    """Take the lock; say False if somebody has it, None where there is none to have."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
