"""A frozen run, read as a stranger's: plain files that it names itself, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from runback.errors import RecordError
from runback.frozen.contents import NAME, Contents, parse
from runback.frozen.errors import ArchiveDamaged, NotFrozen
from runback.record import files
from runback.record.archive import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUFFIX = ".tar"
# Names of files in headers; content is read in blocks.
_AT_ONCE_BYTES = 2 * BLOCK_BYTES
_DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, RecursionError)


@dataclass(frozen=True)
class Source:
    """A frozen run that is open. path: the archive or folder."""

    path: Path
    contents: Contents
    open: Callable[[str], IO[bytes]]

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield a file's content; at its end its digest is compared. Raises ArchiveDamaged."""
        expected, found, size = self.contents.files[name], hashlib.sha256(), 0
        try:
            with self.open(name) as file:
                while block := file.read(BLOCK_BYTES):
                    size += len(block)
                    if size > expected["size_bytes"]:
                        break
                    found.update(block)
                    yield block
        except RecordError as error:
            raise ArchiveDamaged(self.path, name, error.reason) from error
        except tarfile.TarError as error:
            raise ArchiveDamaged(self.path, name, str(error)) from error
        if f"sha256:{found.hexdigest()}" != expected["digest"] or size != expected["size_bytes"]:
            raise ArchiveDamaged(self.path, name, "is not what was frozen")


def is_frozen(text: str) -> bool:
    """Say whether what is named is an archive or folder, and no run."""
    path = Path(text)
    if path.is_dir():
        return (path / NAME).is_file()
    return text.endswith(SUFFIX) or ("/" in text and path.is_file())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a frozen run. Raises NotFrozen, ArchiveDamaged."""
    path = path.resolve()  # a link that the user names is the user's
    if path.is_dir():
        yield Source(path, parse(_text(path), path), lambda name: _plain(path, name))
        return
    try:
        packed = os.fdopen(files.open_plain(path), "rb")
    except RecordError as error:
        raise NotFrozen(path, error.reason) from error
    with packed as file:
        try:
            tar = tarfile.open(  # noqa: SIM115
                fileobj=cast("IO[bytes]", Careful(file)),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
            )
            members = _members(path, tar)
        except _DAMAGE as error:
            raise NotFrozen(path, str(error) or "it cannot be read") from error
        yield Source(path, _contents(path, tar, members), lambda name: _member(tar, members[name]))


def _text(folder: Path) -> bytes:
    try:
        return files.read(folder / NAME, files.LARGEST_JSON_BYTES)
    except RecordError as error:
        raise NotFrozen(folder, f"its {NAME} {error.reason}") from error


def _plain(folder: Path, name: str) -> BinaryIO:
    """Open a file of a folder, reached through no link. Raises RecordError."""
    path = folder / name
    for parent in path.parents:
        if parent == folder:
            break
        if parent.is_symlink():
            raise RecordError(parent, "is reached through a symbolic link: not followed")
    return os.fdopen(files.open_plain(path), "rb")


def _members(path: Path, tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    found = dict[str, tarfile.TarInfo]()
    for member in tar:
        if member.name in found:
            raise ArchiveDamaged(path, repr(member.name), "is in it twice")
        if not member.isreg() or member.issparse() or member.size < 0:
            raise ArchiveDamaged(path, repr(member.name), "is no plain file")
        found[member.name] = member
    return found


def _contents(path: Path, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> Contents:
    """Return what the archive says is in it, if that is what is in it."""
    own = members.pop(NAME, None)
    if own is None:
        raise NotFrozen(path, f"it ends without {NAME}")
    if own.size > files.LARGEST_JSON_BYTES:
        raise NotFrozen(path, f"its {NAME} has {own.size} bytes")
    with _member(tar, own) as file:
        contents = parse(b"".join(iter(lambda: file.read(BLOCK_BYTES), b"")), path)
    for name in sorted(members.keys() ^ contents.files.keys()):
        what = "is in it, and not frozen by runback" if name in members else "is missing"
        raise ArchiveDamaged(path, repr(name), what)
    for name, member in members.items():
        if member.size != contents.files[name]["size_bytes"]:
            raise ArchiveDamaged(path, repr(name), "is not what was frozen")
    return contents


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(member)
    assert found is not None  # a plain file has content
    return found


class Careful:
    """A file of which no header can make us read much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _AT_ONCE_BYTES:
            raise ValueError(f"one of its headers has {size} bytes")
        return self._file.read(size)
