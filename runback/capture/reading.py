"""Read a project's files within limits, follow no link out of it, and name what stays behind."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from runback.capture import leaving

FILE_MAX_BYTES = 10_000_000
TOTAL_MAX_BYTES = 100_000_000
# More of them are counted, not named.
LEFT_OUT_MAX = 1_000
# A file may have become a link or a pipe since we looked.
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class CodeFile:
    """A file as it lay in the project; `link` is the target of a symbolic link, or ""."""

    data: bytes
    executable: bool = False
    link: str = ""

    @property
    def digest(self) -> str:
        content = os.fsencode(self.link) if self.link else self.data
        return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Reader:
    """Reads files one by one; `files` and `left_out` are what became of them.

    root: without symbolic links, as Path.resolve() returns it. since_ns: what was written
    after that is the run's, unless it is code or tracked: we look while the training runs.
    """

    root: Path
    since_ns: float = math.inf
    files: dict[str, CodeFile] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    _total_bytes: int = 0
    _unnamed: int = 0
    _folders: dict[str, bool] = field(default_factory=lambda: {"": True})

    def leave(self, path: str, reason: str) -> None:
        """Name what is left out, up to a number."""
        if path in self.left_out or len(self.left_out) < LEFT_OUT_MAX:
            self.left_out[path] = reason
            return
        self._unnamed += 1
        self.left_out["…"] = f"and {self._unnamed:,} more"

    def add(self, path: str, tracked: bool, executable: bool | None = None) -> None:
        """Read a file or name it; one that was deleted is neither.

        executable: what stands in for the file's own mode, if not None.
        """
        if named := leaving.reason(path, tracked):
            # What is not there is not left out; a folder's mark stands for all of it.
            if named[0] != path or os.path.lexists(self.root / path):
                self.leave(*named)
            return
        try:
            # git still lists what lay in a folder that is a symbolic link now.
            is_inside = self._is_folder(path.rpartition("/")[0])
            file = self._read(path, tracked) if is_inside else None
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.leave(path, f"cannot be read: {error.strerror}")
            return
        if file:
            change = executable is not None and not file.link
            self.files[path] = replace(file, executable=bool(executable)) if change else file
            self._total_bytes += len(file.data)

    def _read(self, path: str, tracked: bool) -> CodeFile | None:
        """Return a file, or None after having named it."""
        whole = os.path.join(self.root, path)  # noqa: PTH118 - pathlib takes three times as long
        status = os.lstat(whole)
        if stat.S_ISLNK(status.st_mode):
            return self._link(path, whole)
        if stat.S_ISDIR(status.st_mode):
            return None
        if not stat.S_ISREG(status.st_mode):
            self.leave(path, "no regular file")
            return None
        if status.st_mtime_ns > self.since_ns and not (tracked or leaving.is_code(path)):
            self.leave(path, "written since the run began")
            return None
        return self._regular(path, whole)

    def _regular(self, path: str, whole: str) -> CodeFile | None:
        with os.fdopen(os.open(whole, FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            if not self._fits(path, status.st_size):
                return None
            # No more than was there: a log may grow while it is read.
            return CodeFile(file.read(status.st_size), bool(status.st_mode & stat.S_IXUSR))

    def _fits(self, path: str, size_bytes: int) -> bool:
        if size_bytes > FILE_MAX_BYTES:
            self.leave(path, f"{size_bytes:,} bytes, more than {FILE_MAX_BYTES:,}")
        elif self._total_bytes + size_bytes > TOTAL_MAX_BYTES:
            self.leave(path, f"the limit of {TOTAL_MAX_BYTES:,} bytes in all was reached")
        else:
            return True
        return False

    def _link(self, path: str, whole: str) -> CodeFile | None:
        """Return a symbolic link unread; an absolute one would lead out wherever it is copied."""
        target = os.readlink(whole)  # noqa: PTH115
        folder = os.path.dirname(path)  # noqa: PTH120
        lexical = os.path.normpath(os.path.join(folder, target))  # noqa: PTH118
        real = Path(os.path.realpath(whole))
        if (
            target.startswith("/")
            or lexical.split("/")[0] == ".."
            or self.root
            not in (
                real,
                *real.parents,
            )
        ):
            self.leave(path, f"a symbolic link out of the project: {target}")
            return None
        return CodeFile(b"", link=target)

    def _is_folder(self, folder: str) -> bool:
        """Say whether no part of a folder's path is a symbolic link."""
        if folder not in self._folders:
            whole = os.path.join(self.root, folder)  # noqa: PTH118
            parent = folder.rpartition("/")[0]
            self._folders[folder] = self._is_folder(parent) and not os.path.islink(whole)  # noqa: PTH114
        return self._folders[folder]
