"""Find which loaded files of installed packages are not as installed: edited in place."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from runback.capture import loaded, machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDERS = ("/site-packages/", "/dist-packages/")
# In an environment that was copied without its times, every file is read: none that takes long.
LARGEST_BYTES = 32_000_000


def describe(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Return the digest of each loaded file that is not what its package's RECORD says.

    paths: instead of the modules and shared libraries of this process. By path
    relative to the folder of the packages. Files are read only if they are younger than
    RECORD or of another size; of the same size, no larger than LARGEST_BYTES.
    """
    found = dict[str, str]()
    for folder, names in _by_folder(_loaded() if paths is None else paths).items():
        for name, expected, size, since_ns in _recorded(folder, names):
            digest = _digest_if_suspect(folder + name, size, since_ns)
            if digest and _as_recorded(digest) != expected:
                found[name] = "sha256:" + digest.hex()
    return dict(sorted(found.items()))


def _loaded() -> set[str]:
    return loaded.files() | {path for path in machine.mapped() if ".so" in path}


def _by_folder(paths: Iterable[str]) -> dict[str, set[str]]:
    """Return the paths relative to the folder of packages that each lies in, by that folder."""
    found = dict[str, set[str]]()
    for path in paths:
        at = max(path.rfind(mark) + len(mark) if mark in path else 0 for mark in FOLDERS)
        if at and not path.endswith(".pyc"):
            found.setdefault(path[:at], set()).add(path[at:])
    return found


def _recorded(folder: str, names: set[str]) -> Iterator[tuple[str, str, int, int]]:
    """Yield name, digest, size and the time of its RECORD, of each of the names that one lists."""
    for record in sorted(Path(folder).glob("*.dist-info/RECORD")):
        try:
            lines, since_ns = record.read_text().splitlines(), record.stat().st_mtime_ns
        except (OSError, ValueError):
            continue
        for line in lines:
            name, _, about = line.partition(",")
            if name not in names:
                continue
            digest, _, size = about.partition(",")
            if digest.startswith("sha256=") and size.isdecimal():
                yield name, digest, int(size), since_ns


def _digest_if_suspect(path: str, size: int, since_ns: int) -> bytes | None:
    """Return the sha256 of a file that may have been edited since it was installed."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of thousands of files
        is_same = status.st_size == size and status.st_mtime_ns <= since_ns
        if is_same or (status.st_size == size and size > LARGEST_BYTES):
            return None
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _as_recorded(digest: bytes) -> str:
    """Word a digest as RECORD does (PEP 376)."""
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
