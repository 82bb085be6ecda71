"""The files of a record: their names, written so that a kill leaves no half, read as a stranger's.

A run folder may come from anywhere: nothing is read through a symbolic link, and
nothing that is larger than it can honestly be.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.errors import RecordError

if TYPE_CHECKING:
    from pathlib import Path

# The version of what docs/record-format.md describes; it grows when a reader must change.
FORMAT = 1

FOLDER = "runback"
MANIFEST = "manifest.json"
RUN = "run.json"
METRICS = "metrics.jsonl"
OUTPUT = "output.log"
CODE = "code.tar.gz"
LEDGER = "ledger.jsonl"
PARTS = (CODE, METRICS, OUTPUT, RUN, LEDGER)

# A manifest names every package and file: some 100 bytes each.
LARGEST_JSON_BYTES = 64_000_000


def folder_of(artifacts: Path) -> Path:
    """Return where the record of a run lies, given the run's artifact folder."""
    return artifacts / FOLDER


def is_inside(name: Any) -> bool:
    """Say whether a name, with `/`, is that of a file below a folder, written plainly."""
    return isinstance(name, str) and "\0" not in name and not {"", ".", ".."} & {*name.split("/")}


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, durable when this returns.

    The draft has one name: each file of a record has one writer, and what a
    killed one left is overwritten by the next.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)  # never into what a stranger's link points at
    with open_new(draft) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def open_new(path: Path) -> BinaryIO:
    """Open a file that must not be there yet, for writing."""
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb"
    )


def open_end(path: Path) -> BinaryIO:
    """Open a file for appending, unbuffered, not through a link. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "ab", buffering=0)


def refuse_links(record: Path) -> None:
    """Raise RecordError if a record's folder is reached through a symbolic link."""
    for folder in (record, *record.parents[:3]):
        if folder.is_symlink():
            raise RecordError(folder, "is a symbolic link: not followed")


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file; readable by people, strict JSON (no NaN).

    Lone surrogates (names of files that are no UTF-8) are kept as JSON escapes.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = json.dumps(content, indent=1, allow_nan=False).encode()
    if len(encoded) >= LARGEST_JSON_BYTES:
        raise RecordError(path, f"would have {len(encoded)} bytes, more than a reader takes")
    replace(path, encoded + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises RecordError: missing, not a plain file, too large, not JSON, not an object,
    or written in a format that this version does not know.
    """
    return parse(read(path, LARGEST_JSON_BYTES), path)


def parse(text: bytes, path: Path) -> dict[str, Any]:
    """Return the object that a JSON file's text is. Raises RecordError as `read_json` does."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(path, f"is not JSON ({error})"[:200]) from error
    if not isinstance(content, dict):
        raise RecordError(path, "is not a JSON object")
    version = content.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise RecordError(path, f"has format {version}, newer than {FORMAT}: update runback")
    if version != FORMAT:
        raise RecordError(path, f"has format {version!r}, not {FORMAT}"[:200])
    return content


def read(path: Path, largest: int) -> bytes:
    """Return the bytes of a plain file of at most `largest`. Raises RecordError."""
    handle = open_plain(path)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        if size > largest:
            raise RecordError(path, f"has {size} bytes, more than the {largest} it can have")
        return file.read(largest)


def open_plain(path: Path) -> int:
    """Open a plain file for reading, not through a link. Raises RecordError."""
    try:
        # NONBLOCK: opening a pipe must not wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise RecordError(path, _unreadable(path, error)) from error
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise RecordError(path, "is not a plain file")


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if path.is_symlink():
        return "is a symbolic link"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def digest(path: Path) -> dict[str, Any]:
    """Return `{"digest": "sha256:…", "size_bytes": n}` of a plain file. Raises RecordError."""
    import hashlib  # 3 ms, which `runback ls` has no use for

    handle = open_plain(path)
    with os.fdopen(handle, "rb") as file:
        try:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise RecordError(path, _unreadable(path, error)) from error
        return {"digest": f"sha256:{found}", "size_bytes": os.fstat(handle).st_size}
