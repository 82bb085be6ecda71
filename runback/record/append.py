"""Files of a record that grow by lines: appended to so that a kill leaves whole lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def append_lines(path: Path, lines: Sequence[bytes], longest_bytes: int) -> None:
    """Add lines at the end of the file, durable when this returns.

    lines: without their ends. What a killed writer left of a line is cut off first.
    longest_bytes: what a line of this file can have. Raises OSError: then nothing is added.
    """
    content = b"".join(line + b"\n" for line in lines)
    with files.open_end(path) as file:
        _cut_half_line(path, file.fileno(), longest_bytes)
        size = os.fstat(file.fileno()).st_size
        try:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)  # a full disk takes half: those would stand twice
            raise


def _cut_half_line(path: Path, handle: int, longest_bytes: int) -> None:
    """Cut off what stands behind the last line's end."""
    size = os.fstat(handle).st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 1))
        if file.read() in (b"", b"\n"):
            return
        file.seek(max(0, size - longest_bytes))
        tail = file.read()
    os.ftruncate(handle, size - len(tail) + tail.rfind(b"\n") + 1)
