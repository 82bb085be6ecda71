"""Remember the digest of a file by its size, time and inode, as git's index does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# A file that changed this lately may change again within the same tick of its clock.
RACY_NS = 2_000_000_000
# A data set takes minutes to digest: what is done is kept, should the training end.
SAVE_EVERY_BYTES = 4_000_000_000
# A pipe in a data folder must not hold the thread.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Cache:
    """Digests by absolute path, in a file of a JSON list to a line.

    Lines, because one large document would hold Python's lock while it is parsed,
    and because a line that is damaged takes no other with it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = dict(_read(file))
        self._changed = False
        self._unsaved_bytes = 0

    def digest(self, path: str, status: os.stat_result, algorithm: str) -> str:
        """Return a file's digest ("sha256:…"); it is read if it is not as it was. Raises OSError.

        status: of the file just now. algorithm: sha256 or md5, one for all of the cache.
        """
        if known := self.get(path, status):
            return known
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            new = hashlib.new(algorithm, usedforsecurity=False)
            digest = f"{algorithm}:{hashlib.file_digest(file, lambda: new).hexdigest()}"
            after = os.fstat(file.fileno())
        self.put(path, status, after, digest)
        return digest

    def get(self, path: str, status: os.stat_result) -> str | None:
        """Return the digest of a file, if it is still the one that was digested."""
        key, digest = self._known.get(path, (None, None))
        return digest if key == _key(status) else None

    def put(self, path: str, before: os.stat_result, after: os.stat_result, digest: str) -> None:
        """Keep a digest, unless the file changed while or just before it was read."""
        self._known.pop(path, None)
        self._changed = True
        if _key(before) == _key(after) and time.time_ns() - after.st_mtime_ns > RACY_NS:
            self._known[path] = (_key(after), digest)
        self._unsaved_bytes += after.st_size
        if self._unsaved_bytes > SAVE_EVERY_BYTES:
            self.save()

    def save(self) -> None:
        """Replace the file at once; where it cannot be written, the next run digests again."""
        if not self._changed:
            return
        self._changed, self._unsaved_bytes = False, 0
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._write()

    def _write(self) -> None:
        handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name + ".")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                for path, (key, digest) in self._known.items():
                    file.write(json.dumps([path, *key, digest]) + "\n")
            os.replace(name, self._file)  # noqa: PTH105
        except OSError:
            os.unlink(name)  # noqa: PTH108
            raise


def _key(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read(file: Path) -> dict[str, tuple[tuple[int, int, int], str]]:
    found = dict[str, tuple[tuple[int, int, int], str]]()
    with contextlib.suppress(OSError), file.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                entry: Any = json.loads(line)
                path, size, time_ns, inode, digest = entry
                if isinstance(path, str) and str(digest).startswith(("sha256:", "md5:")):
                    found[path] = ((size, time_ns, inode), str(digest))
    return found
