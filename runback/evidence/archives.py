"""Compare archives member by member: their times, order and compression are set aside."""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.evidence import addresses
from runback.evidence.case import DEEPEST, CannotLook
from runback.evidence.case import LARGEST_BYTES as LARGEST_TEXT
from runback.evidence.finding import DIFFERENT, EXTRA, MISSING, SAME

if TYPE_CHECKING:
    from runback.evidence.case import Case
    from runback.evidence.finding import Finding

MEMBERS_MAX = 100_000
# An archive of a few bytes can hold any number of zeros.
LARGEST_BYTES = 20_000_000_000
_IN_MEMORY = 16_000_000
_BLOCK = 1 << 20
# A zip file of Keras, whose tensors are in one member: they are called without it.
_WEIGHTS = "model.weights.h5"

Look = Callable[["Case"], Iterator["Finding"]]


@dataclass(frozen=True)
class Member:
    """mark: what tells members of one name and content apart: a link's target, the mode."""

    open: Callable[[], Any]
    mark: str = ""


def zipped(case: Case, look: Look) -> Iterator[Finding]:
    """Yield what is found of two zip files. `look` looks into members that differ."""
    with ExitStack() as stack:
        is_skops = case.file.endswith(addresses.SKOPS)
        both = [_zip(stack.enter_context(zipfile.ZipFile(f)), is_skops) for f in _files(case)]
        yield from _compared(case, both[0], both[1], look)


def tarred(case: Case, look: Look) -> Iterator[Finding]:
    """Yield what is found of two tar files, compressed or not."""
    with ExitStack() as stack:
        both = [_tar(stack.enter_context(tarfile.open(fileobj=f))) for f in _files(case)]
        yield from _compared(case, both[0], both[1], look)


def gzipped(case: Case, look: Look) -> Iterator[Finding]:
    """Yield what is found of two files that gzip compressed."""
    name = case.file.removesuffix(".gz")
    members = [{name: Member(partial(gzip.GzipFile, fileobj=f))} for f in _files(case)]
    yield from _compared(case, members[0], members[1], look)


def _files(case: Case) -> tuple[BinaryIO, BinaryIO]:
    if case.depth >= DEEPEST:
        raise CannotLook("differs, and is an archive in too many others: not looked into")
    case.recorded.seek(0)
    case.replayed.seek(0)
    return case.recorded, case.replayed


def _zip(archive: zipfile.ZipFile, is_skops: bool) -> dict[str, Member]:
    found = {}
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _refuse(len(infos), len({info.filename for info in infos}), sum(i.file_size for i in infos))
    names = _renamed(archive) if is_skops else {}
    for info in infos:
        found[names.get(info.filename, info.filename)] = Member(partial(archive.open, info))
    _refuse(len(infos), len(found), 0)
    return found


def _renamed(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the names of members that skops calls by an address, as its schema counts them."""
    schema = addresses.SCHEMA
    if schema not in archive.NameToInfo or archive.getinfo(schema).file_size > LARGEST_TEXT:
        return {}
    return addresses.members(archive.read(schema))


def _tar(archive: tarfile.TarFile) -> dict[str, Member]:
    found, size, count = {}, 0, 0
    for info in archive:
        count, size = count + 1, size + info.size
        _refuse(count, count, size)
        mark = f"{info.type!r} {info.mode:o} {info.linkname}"
        opened = partial(archive.extractfile, info) if info.isreg() else tempfile.TemporaryFile
        if info.name in found:
            _refuse(2, 1, 0)
        found[info.name] = Member(opened, mark)
    return found


def _refuse(members: int, names: int, size: int) -> None:
    if members > MEMBERS_MAX or size > LARGEST_BYTES:
        raise CannotLook("differs, and is too large an archive: not looked into")
    if names < members:
        raise CannotLook("differs, and has two members of one name: not looked into")


def _compared(
    case: Case, recorded: dict[str, Member], replayed: dict[str, Member], look: Look
) -> Iterator[Finding]:
    """Yield what is found of members that differ, and one finding of those that do not."""
    same: list[Finding] = []
    for name in sorted(recorded.keys() | replayed.keys()):
        one, other = recorded.get(name), replayed.get(name)
        if one is None or other is None:
            yield case.named(name).finding(EXTRA if one is None else MISSING)
            continue
        for finding in _member(case, name, one, other, look):
            if finding.status == SAME:
                same.append(finding)
            else:
                yield finding
    if same:
        details = dict.fromkeys(finding.detail for finding in same if finding.detail)
        count = sum(finding.count for finding in same)
        yield case.finding(SAME, count=count, detail="; ".join(details)[:500])


def _member(case: Case, name: str, one: Member, other: Member, look: Look) -> Iterator[Finding]:
    inside = case if name == _WEIGHTS else case.named(name)
    if one.mark != other.mark:
        yield inside.finding(DIFFERENT, recorded=one.mark, replayed=other.mark, differing=1)
        return
    with ExitStack() as stack:
        a, b = (stack.enter_context(_unpacked(member.open())) for member in (one, other))
        size = same_bytes(a, b)
        if size is not None:
            yield inside.finding(SAME, count=size)
        else:
            yield from look(
                replace(inside, recorded=a, replayed=b, file=_base(name), depth=case.depth + 1)
            )


def _base(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


@contextmanager
def _unpacked(source: BinaryIO) -> Iterator[Any]:
    """Give the content as a file that can be sought in. Raises CannotLook: it is too large."""
    with source, tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        size = 0
        while block := source.read(_BLOCK):
            size += len(block)
            if size > LARGEST_BYTES:
                raise CannotLook("differs, and unpacks to too much: not looked into")
            file.write(block)
        yield file


def same_bytes(one: BinaryIO, other: BinaryIO) -> int | None:
    """Return the number of bytes of two equal contents, None of those that differ."""
    one.seek(0)
    other.seek(0)
    size = 0
    while True:
        blocks = one.read(_BLOCK), other.read(_BLOCK)
        if blocks[0] != blocks[1]:
            return None
        if not blocks[0]:
            return size
        size += len(blocks[0])
