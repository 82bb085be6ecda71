"""code.tar.gz, read as a stranger's: bounded, a file at a time; nothing is unpacked here."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from runback.errors import RecordError
from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE, EXECUTABLE, LINK, OTHER = "file", "executable", "link", "other"
BLOCK_BYTES = 1 << 20
# RecursionError: a header that announces a header, and so on.
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """A file of the archive, to be read before the next one.

    kind: FILE, EXECUTABLE, LINK, or OTHER: what no snapshot holds, and nobody should
    unpack. link: where a link points.
    """

    archive: Path
    name: str
    kind: str
    link: str
    content: IO[bytes] | None

    def blocks(self) -> Iterator[bytes]:
        """Yield the content; of a link, its target's name. Raises RecordError."""
        with _worded(self.archive):
            if self.content is None:
                yield os.fsencode(self.link)
                return
        while True:
            with _worded(self.archive):
                block = self.content.read(BLOCK_BYTES)
            if not block:
                return
            yield block


def entries(path: Path, count: int, size_bytes: int) -> Iterator[Entry]:
    """Yield what is in an archive of `count` files that have `size_bytes` bytes together.

    Raises RecordError: damaged, larger than that, or a name comes twice.
    """
    packed = os.fdopen(files.open_plain(path), "rb")
    with packed as file, _worded(path):
        # Headers, names and padding of each file, and the end of the archive.
        bounded = cast("IO[bytes]", _Bounded(file, size_bytes + (count + 10) * 8192))
        with tarfile.open(fileobj=bounded, mode="r|") as tar:
            names = set[str]()
            for member in tar:
                size_bytes -= _size(member)
                if size_bytes < 0:
                    raise ValueError(_Bounded.MESSAGE)
                if member.name in names:
                    raise ValueError(f"holds {member.name!r} twice")
                names.add(member.name)
                yield _entry(path, tar, member)


def digests(path: Path, count: int, size_bytes: Any) -> dict[str, str]:
    """Return the digest of each file in the archive. Raises RecordError as `entries` does."""
    size = size_bytes if isinstance(size_bytes, int) else 0
    return {entry.name: digest(entry) for entry in entries(path, count, size)}


def digest(entry: Entry) -> str:
    """Return the digest of an entry as a manifest has it; "other" of what is no file."""
    if entry.kind == OTHER:
        return OTHER
    found = hashlib.sha256()
    for block in entry.blocks():
        found.update(block)
    return f"sha256:{found.hexdigest()}"


def _size(member: tarfile.TarInfo) -> int:
    if member.size < 0 or member.issparse():
        raise ValueError(_Bounded.MESSAGE)
    return member.size if member.isreg() else 0


def _entry(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    if member.issym():
        return Entry(path, member.name, LINK, member.linkname, None)
    if not member.isreg():
        return Entry(path, member.name, OTHER, "", None)
    kind = EXECUTABLE if member.mode & 0o100 else FILE
    return Entry(path, member.name, kind, "", tar.extractfile(member))


@contextmanager
def _worded(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise RecordError(path, str(error) or "is damaged") from error


class _Bounded:
    """Unpacks gzip up to a limit, whatever sizes the archive claims."""

    MESSAGE = "holds more than its manifest says"

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = gzip.GzipFile(fileobj=file)
        self._left = limit

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < -tarfile.RECORDSIZE:
            raise ValueError(self.MESSAGE)
        return self._file.read(size)
