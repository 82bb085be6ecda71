"""The difference between the code of two runs, as git would write it; git is not needed."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.record import manifest
from runback.record.archive import EXECUTABLE, FILE, LINK
from runback.runs.code import code_of
from runback.runs.errors import WrongDigest
from runback.runs.folder import record_of
from runback.runs.run import read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from runback.record.archive import Entry
    from runback.runs.code import Code
    from runback.runs.run import Run

MODES = {FILE: "100644", EXECUTABLE: "100755", LINK: "120000"}
# Of longer texts the whole is said to be replaced: to find the least change can take hours.
MOST_LINES = 10_000
# What a snapshot takes at most of a file, and in all.
LARGEST_BYTES, LARGEST_TOTAL_BYTES = 10_000_000, 100_000_000
SNIFFED_BYTES = 8_000
NO_FILE = "/dev/null"


@dataclass(frozen=True)
class _Side:
    """A file on one side; data: None if it is too large to be looked at."""

    kind: str
    data: bytes | None


def patch(root: Path, run_ids: Sequence[str]) -> Iterator[bytes]:
    """Yield the lines that turn the first run's code into the second's, as `git diff` does.

    Raises NoRecord, NoCode, RecordError.
    """
    before, after = (_code(root, run) for run in read(root, run_ids))
    names = before.files.keys() | after.files.keys()
    wanted = {name for name in names if before.files.get(name) != after.files.get(name)}
    if before.digest == after.digest:
        return
    old, new = _sides(before, wanted), _sides(after, wanted)
    for name in sorted(names):
        yield from _change(name, old.get(name), new.get(name), name in wanted)


def _code(root: Path, run: Run) -> Code:
    record = record_of(root, run.listed)
    return code_of(record, manifest.read(record, run.id))


def _sides(code: Code, wanted: Collection[str]) -> dict[str, _Side]:
    """Return each file's kind, and the content of those that are wanted."""
    found, left = dict[str, _Side](), LARGEST_TOTAL_BYTES
    for entry in code.entries():
        is_read = entry.name in wanted or entry.kind == LINK
        data = _data(code, entry, min(left, LARGEST_BYTES)) if is_read else b""
        left -= len(data or b"")
        found[entry.name] = _Side(entry.kind, data)
    return found


def _data(code: Code, entry: Entry, most: int) -> bytes | None:
    blocks, size, digest = list[bytes](), 0, hashlib.sha256()
    for block in entry.blocks():
        digest.update(block)
        size += len(block)
        blocks += [block] if size <= most else []
    found, expected = f"sha256:{digest.hexdigest()}", code.files[entry.name]
    if found != expected:
        raise WrongDigest(code.archive, entry.name, expected, found)
    return b"".join(blocks) if size <= most else None


def _change(name: str, old: _Side | None, new: _Side | None, differs: bool) -> Iterator[bytes]:
    kinds = [side.kind if side else None for side in (old, new)]
    if not differs and kinds[0] == kinds[1]:
        return
    if old and new and (LINK in kinds) and kinds[0] != kinds[1]:
        # Where the digests are equal, so are the bytes: a link's are its target's name.
        data = old.data or new.data
        yield from _change(name, _Side(old.kind, old.data or data), None, True)
        yield from _change(name, None, _Side(new.kind, new.data or data), True)
        return
    if any(side and _is_binary(side.data) for side in (old, new)):
        # Without a header: `git apply` refuses a patch that names a file and does not hold it.
        one, other = _named("a/", name, old), _named("b/", name, new)
        yield b"Binary files %s and %s differ\n" % (one, other)
        return
    yield b"diff --git %s %s\n" % (_quoted(f"a/{name}"), _quoted(f"b/{name}"))
    yield from _modes(old, new)
    if differs:
        yield _index(old, new)
    before, after = (side.data or b"" if side and differs else b"" for side in (old, new))
    if before != after:
        yield b"--- %s\n" % _ended(_named("a/", name, old))
        yield b"+++ %s\n" % _ended(_named("b/", name, new))
        yield from hunks(lines_of(before), lines_of(after))


def _modes(old: _Side | None, new: _Side | None) -> Iterator[bytes]:
    if old is None and new is not None:
        yield f"new file mode {MODES[new.kind]}\n".encode()
    elif new is None and old is not None:
        yield f"deleted file mode {MODES[old.kind]}\n".encode()
    elif old and new and old.kind != new.kind:
        yield f"old mode {MODES[old.kind]}\nnew mode {MODES[new.kind]}\n".encode()


def _index(old: _Side | None, new: _Side | None) -> bytes:
    """Return the line that names both contents as git does; patch takes from it what is a link."""
    mode = f" {MODES[new.kind]}" if old and new and old.kind == new.kind else ""
    return f"index {_blob(old)}..{_blob(new)}{mode}\n".encode()


def _blob(side: _Side | None) -> str:
    if side is None or side.data is None:
        return "0" * 40
    content = b"blob %d\0" % len(side.data) + side.data
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _is_binary(data: bytes | None) -> bool:
    """Tell it as git does."""
    return data is None or b"\0" in data[:SNIFFED_BYTES]


def _named(prefix: str, name: str, side: _Side | None) -> bytes:
    return _quoted(prefix + name) if side else NO_FILE.encode()


def _quoted(name: str) -> bytes:
    """Return a name as git writes it in a patch."""
    raw = name.encode("utf-8", "surrogateescape")
    if all(byte >= 32 and byte not in b'"\\\x7f' for byte in raw):
        return raw
    odd = (b"\\%03o" % byte if byte < 32 or byte in b'"\\\x7f' else bytes([byte]) for byte in raw)
    return b'"%s"' % b"".join(odd)


def _ended(name: bytes) -> bytes:
    """Return a name whose end is seen, where it has a space in it."""
    return name + b"\t" if b" " in name and not name.startswith(b'"') else name


def lines_of(data: bytes) -> list[bytes]:
    """Return a text's lines as a patch has them: the last one says if it has no end."""
    lines = data.split(b"\n")
    whole = [line + b"\n" for line in lines[:-1]]
    return whole + ([lines[-1] + b"\n\\ No newline at end of file\n"] if lines[-1] else [])


def hunks(before: list[bytes], after: list[bytes]) -> Iterator[bytes]:
    """Yield the lines that turn one text's lines into another's."""
    if len(before) + len(after) > MOST_LINES:
        old, new = (f"{min(1, len(lines))},{len(lines)}" for lines in (before, after))
        yield f"@@ -{old} +{new} @@\n".encode()
        yield from (b"-" + line for line in before)
        yield from (b"+" + line for line in after)
        return
    found = difflib.diff_bytes(difflib.unified_diff, before, after)
    yield from list(found)[2:]
