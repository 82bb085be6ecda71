"""Look into two files that differ, by what their name says they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runback.evidence import archives, documents, leaves, opened, pixels, tensors, texts
from runback.evidence.case import CannotLook
from runback.evidence.finding import DIFFERENT, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from runback.evidence.case import Case
    from runback.evidence.finding import Finding
    from runback.evidence.opened import Opened

_DOCUMENTS = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv")
_TEXTS = (".txt", ".md", ".log", ".py", ".toml", ".ini", ".cfg", ".xml", ".sh", ".bash")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
_DERIVED = ".data/serialization_id"  # torch makes it of all the others
_TENSORS: dict[tuple[str, ...], Callable[[BinaryIO], Opened]] = {
    (".h5", ".hdf5"): opened.h5,
    (".npy",): opened.npy,
    (".npz",): opened.npz,
    (".safetensors",): opened.safetensors,
}


def look(case: Case) -> Iterator[Finding]:
    """Yield what is found inside; what cannot be looked into is not compared, and says why."""
    yield from case.looked(_look)


def _look(case: Case) -> Iterator[Finding]:
    name = case.file.lower()
    for suffixes, open_it in _TENSORS.items():
        if name.endswith(suffixes):
            return _named(case, open_it)
    if name.endswith((".pt", ".pth", ".ckpt")) or (name.endswith(".bin") and _is_zip(case)):
        return _torch(case)
    if name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        return archives.tarred(case, look)
    if name.endswith(".gz"):
        return archives.gzipped(case, look)
    if name.endswith(_PICTURES):
        return pixels.compare(case)
    if name.endswith(_DOCUMENTS) or case.file == "MLmodel":
        return documents.compare(case)
    if name.endswith((".svg", ".pdf")):
        return texts.svg(case) if name.endswith(".svg") else texts.pdf(case)
    if name.endswith((".html", ".htm")):
        return texts.html(case)
    if _is_zip(case):
        return archives.zipped(case, look)
    return texts.compare(case) if name.endswith(_TEXTS) else _bytes(case)


def _is_zip(case: Case) -> bool:
    starts = []
    for file in (case.recorded, case.replayed):
        file.seek(0)
        starts.append(file.read(4))
    return starts == [b"PK\x03\x04"] * 2


def _named(case: Case, open_it: Callable[[BinaryIO], Opened]) -> Iterator[Finding]:
    """Yield what is found of named tensors, and of what stands among them."""
    yield from _compared(case, open_it(case.recorded), open_it(case.replayed))


def _compared(case: Case, one: Opened, other: Opened) -> Iterator[Finding]:
    yield from tensors.compare(case, one.tensors, other.tensors)
    if one.plain or other.plain:
        yield leaves.finding(case, one.plain, other.plain)


def _torch(case: Case) -> Iterator[Finding]:
    """Yield what is found of two files of torch.save; of what it refuses, by its storages."""
    try:
        both = opened.torch(case.recorded), opened.torch(case.replayed)
    except CannotLook as refusal:
        if not _is_zip(case):
            raise
        yield from _storages(case, str(refusal))
    else:
        yield from _compared(case, *both)


def _storages(case: Case, refusal: str) -> Iterator[Finding]:
    """Yield what is found of the members: tensors are in their own, the pickle is not loaded."""
    for finding in archives.zipped(case, look):
        if finding.name.endswith("data.pkl") and finding.status == DIFFERENT:
            yield replace(finding, status=UNKNOWN, detail=refusal)
        elif not finding.name.endswith(_DERIVED):
            yield finding


def _bytes(case: Case) -> Iterator[Finding]:
    """Yield that the bytes differ, and the first that does; a text is compared as one."""
    try:
        one, other = case.texts()
    except CannotLook:
        yield case.finding(DIFFERENT, differing=1, detail="by its bytes")
        return
    if b"\0" not in one[:8192] and b"\0" not in other[:8192]:
        yield from texts.compare(case)
        return
    first = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    yield case.finding(
        DIFFERENT, count=len(one), differing=1, detail=f"by its bytes, from byte {first}"
    )
