"""Unpack a tar.gz of Keepsake's as a stranger's.

It holds plain files in one folder, named by an id. What holds anything else (links,
devices, names that lead out of it) is refused whole, as is one that ends early. What is
unpacked is limited by the room on the disk alone; what takes memory, by HEADER_BYTES
and MOST_FILES.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from runback.errors import DiskFull, RecordError
from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEADER_BYTES = 1_000_000
MOST_FILES = 200_000
# Left free on the disk, for the database among others.
RESERVE_BYTES = 100_000_000
_BLOCK_BYTES = 1_000_000


def unpack(
    path: Path, folder: str, place: Callable[[str], str | None], into: Path
) -> dict[str, dict[str, Any]]:
    """Write the files of an archive below `into`; return digest and size of each by its path.

    folder: what all of it lies in. place: where a file goes, None if it does not belong
    there. Raises RecordError, DiskFull, OSError; then some of it is written.
    """
    found = {}
    for name, content in _members(path, folder, into):
        target = place(name)
        if target is None:
            raise RecordError(path, f"holds {name!r}, which its checkpoint does not name")
        _write(path, into / target, content)
        found[target] = {"digest": content.digest(), "size_bytes": content.size_bytes}
    return found


def repack(path: Path, folder: str, target: Path) -> dict[str, Any]:
    """Write the files of an archive as a record's code.tar.gz; return its part of the manifest.

    The same archive gives the same bytes (with the same zlib). Raises as `unpack` does.
    """
    with files.open_new(target) as file:
        found = _repacked(path, folder, file, target.parent)
        file.flush()
        os.fsync(file.fileno())
    return _described(found)


def _repacked(path: Path, folder: str, file: BinaryIO, into: Path) -> dict[str, Content]:
    found: dict[str, Content] = {}
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(
            fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
        ) as tar,
    ):
        for name, content in _members(path, folder, into):
            if name in found:
                raise RecordError(path, f"holds {name!r} twice")
            member = tarfile.TarInfo(name)
            member.size = content.size_bytes
            tar.addfile(member, cast("IO[bytes]", content))
            found[name] = content
    return found


def _described(found: dict[str, Content]) -> dict[str, Any]:
    digests = {name: found[name].digest() for name in sorted(found, key=os.fsencode)}
    whole = hashlib.sha256()
    for name, digest in digests.items():
        whole.update(os.fsencode(name) + f"\0file\0{digest}\n".encode())
    return {
        "root": None,
        "git": None,
        "files": digests,
        "left_out": {},
        "digest": f"sha256:{whole.hexdigest()}",
        "size_bytes": sum(content.size_bytes for content in found.values()),
    }


def _write(path: Path, target: Path, content: Content) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = files.open_new(target)
    except (FileExistsError, NotADirectoryError) as error:
        raise RecordError(path, f"holds {target.name!r} twice") from error
    with file:
        shutil.copyfileobj(cast("IO[bytes]", content), file, _BLOCK_BYTES)
        file.flush()
        os.fsync(file.fileno())


class Content:
    """The bytes of one file in an archive, digested as they are read: once, and before the next."""

    def __init__(self, source: _Unpacked, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._source = source
        self._left = size_bytes
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, `size` of them while there are as many."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.content(wanted)
        self._left -= wanted
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _members(path: Path, folder: str, into: Path) -> Iterator[tuple[str, Content]]:
    """Yield the path below `folder` and the content of each file. Raises RecordError, DiskFull.

    into: where there must be room for it.
    """
    with os.fdopen(files.open_plain(path), "rb") as packed:
        source = _Unpacked(path, packed, into)
        with _worded(path):
            tar = tarfile.open(fileobj=cast("IO[bytes]", source), mode="r:")  # noqa: SIM115
        while member := source.next(tar):
            tar.members = []  # type: ignore[attr-defined]  # it would remember them all
            name = _name(path, member, folder)
            if member.type == tarfile.DIRTYPE:
                continue
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse:
                raise RecordError(path, f"holds {member.name!r}, which is no plain file")
            yield name, Content(source, member.size)
        source.drain()


def _name(path: Path, member: tarfile.TarInfo, folder: str) -> str:
    first, *parts = member.name.split("/")
    if first != folder or {"", ".", ".."} & set(parts):
        raise RecordError(path, f"holds {member.name!r}, which is not inside of {folder[:7]}…/")
    return "/".join(parts)


class _Unpacked:
    """The tar in a tar.gz, as a file that tarfile reads.

    It hands out no more for headers than HEADER_BYTES each, whatever they claim, and no
    more content than there is room for.
    """

    def __init__(self, path: Path, packed: BinaryIO, into: Path) -> None:
        self._path = path
        self._file = gzip.GzipFile(fileobj=packed)
        self._into = into
        self._room = shutil.disk_usage(into).free - RESERVE_BYTES
        self._free = self._room
        self._headers = HEADER_BYTES
        self._count = 0
        self._last = b""
        self.tell = self._file.tell
        self.seek = self._file.seek

    def read(self, size: int) -> bytes:
        """Return bytes of a header. Raises ValueError if it is too large, EOFError."""
        self._headers -= size
        if self._headers < 0:
            raise ValueError(f"it has a header of more than {HEADER_BYTES} bytes")
        self._last = self._file.read(size)
        return self._last

    def next(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """Return the next header, None after the last."""
        self._count += 1
        if self._count > MOST_FILES:
            raise RecordError(self._path, f"holds more than {MOST_FILES} files")
        self._headers = HEADER_BYTES
        with _worded(self._path):
            return tar.next()

    def content(self, size: int) -> bytes:
        """Return this many bytes. Raises RecordError if it ends before."""
        self._free -= size
        if self._free < 0:
            what = f"unpacking {self._path.name}"
            raise DiskFull(self._into, self._room, self._room - self._free, what)
        with _worded(self._path):
            data = self._file.read(size)
            if len(data) < size:
                raise EOFError("it ends in the middle of a file")
            return data

    def drain(self) -> None:
        """Read to the end, where the checksum is."""
        self._headers = HEADER_BYTES
        with _worded(self._path):
            if self._last != bytes(tarfile.BLOCKSIZE):
                # tarfile takes what is no header for the end, but for the first one.
                raise EOFError("it ends before its end is marked")
            while self.read(tarfile.RECORDSIZE):
                pass


@contextmanager
def _worded(path: Path) -> Iterator[None]:
    """Turn what unpacking says of a damaged archive into a RecordError."""
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise RecordError(path, f"is damaged: {error}"[:200]) from error
