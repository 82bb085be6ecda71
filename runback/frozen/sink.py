"""Where frozen files go, one after the other: into a folder, or straight into an archive."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
from abc import ABC, abstractmethod
from typing import IO, TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.frozen.contents import NAME
from runback.record import files
from runback.record.archive import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from runback.frozen.contents import Contents


class Sink(ABC):
    """Takes files, and knows digest and size of each, by name."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}

    def add(
        self,
        name: str,
        blocks: Iterable[bytes],
        source: Path,
        expected: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a file. Raises RecordError, naming its source, if it is not what is expected."""
        found, size = hashlib.sha256(), 0
        with self._opened(name) as file:
            for block in blocks:
                found.update(block)
                size += len(block)
                file.write(block)
        about = {"digest": f"sha256:{found.hexdigest()}", "size_bytes": size}
        if expected is not None and about != expected:
            raise RecordError(source, "differs from its digest")
        self.files[name] = about

    def add_file(self, name: str, path: Path, expected: Mapping[str, Any] | None = None) -> None:
        """Write a copy of a plain file. Raises RecordError: it is a link, or not as expected."""
        with os.fdopen(files.open_plain(path), "rb") as file:
            self.add(name, iter(lambda: file.read(BLOCK_BYTES), b""), path, expected)

    def end(self, contents: Contents) -> None:
        """Write frozen.json, the last of all."""
        text = json.dumps(contents.as_object(), indent=1, allow_nan=False).encode() + b"\n"
        if len(text) > files.LARGEST_JSON_BYTES:
            raise RecordError(self.place / NAME, "would be larger than a reader takes")
        self.add(NAME, [text], self.place)

    @property
    @abstractmethod
    def place(self) -> Path:
        """Return the folder or the archive."""

    @abstractmethod
    def _opened(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]: ...


class FolderSink(Sink):
    """A folder; each file is durable once it is added."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    @property
    def place(self) -> Path:
        return self._folder

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.open_new(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


class ArchiveSink(Sink):
    """A tar file: plain ones alone, without owners and times.

    How large an image will be, its engine does not say: a header is written again when
    its file is through.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = files.open_new(path)

    @property
    def place(self) -> Path:
        return self._path

    def end(self, contents: Contents) -> None:
        """Write frozen.json and the end of the archive, durable when this returns."""
        super().end(contents)
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._pad(tarfile.RECORDSIZE)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        # What a full disk did not take, it does not take at the end either.
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        head = self._file.tell()
        self._file.write(_header(name, 0))
        begin = self._file.tell()
        yield self._file
        size = self._file.tell() - begin
        self._pad(tarfile.BLOCKSIZE)
        self._file.seek(head)
        self._file.write(_header(name, size))
        self._file.seek(0, os.SEEK_END)

    def _pad(self, unit: int) -> None:
        self._file.write(bytes(-self._file.tell() % unit))


def _header(name: str, size: int) -> bytes:
    """Return a tar header; its length hangs on the name alone."""
    about = tarfile.TarInfo(name)
    about.size, about.mode = size, 0o644
    return about.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
