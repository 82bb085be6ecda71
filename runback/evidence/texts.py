"""Compare texts, and what is nearly one: SVG and PDF, with their dates and ids set aside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runback.evidence.finding import DIFFERENT, SAME
from runback.evidence.params import FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.case import Case
    from runback.evidence.finding import Finding

_SVG_DATE = re.compile(rb"<dc:date>[^<]*</dc:date>|<!-- Created [^>]*-->")
# Matplotlib and others draw ids; where they stand, and which are the same, is kept.
_SVG_ID = re.compile(rb"""\bid=["']([^"']+)["']""")
_SVG_USE = re.compile(
    rb"""(?<=\bid=["'])[^"']+(?=["'])|(?<=url\(#)[^)]+(?=\))|(?<=href=["']#)[^"']+"""
)
_PDF_DATE = re.compile(
    rb"/(?:CreationDate|ModDate)\s*\([^)]*\)|/ID\s*\[\s*<[0-9A-Fa-f]*>\s*<[0-9A-Fa-f]*>\s*\]"
    rb"|<xmp:(CreateDate|ModifyDate|MetadataDate)>[^<]*<|uuid:[0-9A-Fa-f-]{36}"
)
# plotly draws them, to name its elements.
_UUID = re.compile(rb"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
_SHOWN = 200


def compare(case: Case) -> Iterator[Finding]:
    """Yield what is found of two texts, the runs' own ids and folders set aside."""
    one, other = (own.plain_bytes(t) for own, t in zip(case.owns, case.texts(), strict=True))
    yield (
        case.finding(SAME, count=len(one), detail=FOLDERS)
        if one == other
        else _lines(case, one, other)
    )


def svg(case: Case) -> Iterator[Finding]:
    """Yield what is found of two SVG pictures."""
    yield from _without(case, _plain_svg, "set aside: its date and drawn ids")


def html(case: Case) -> Iterator[Finding]:
    """Yield what is found of two pages, whose drawn uuids become the numbers of their order."""
    one, other = (own.plain_bytes(t) for own, t in zip(case.owns, case.texts(), strict=True))
    detail = FOLDERS if one == other else "set aside: drawn uuids"
    yield from _without(case, _plain_html, detail)


def pdf(case: Case) -> Iterator[Finding]:
    """Yield what is found of two PDF documents."""
    yield from _without(
        case, lambda content: _PDF_DATE.sub(b"", content), "set aside: dates and id"
    )


def _without(case: Case, plain: object, detail: str) -> Iterator[Finding]:
    assert callable(plain)
    one, other = (plain(own.plain_bytes(t)) for own, t in zip(case.owns, case.texts(), strict=True))
    if one == other:
        yield case.finding(SAME, count=len(one), detail=detail)
    else:
        yield _lines(case, one, other)


def _plain_svg(content: bytes) -> bytes:
    ids = {name: b"%d" % n for n, name in enumerate(dict.fromkeys(_SVG_ID.findall(content)))}
    content = _SVG_USE.sub(lambda found: ids.get(found[0], found[0]), content)
    return _SVG_DATE.sub(b"", content)


def _plain_html(content: bytes) -> bytes:
    drawn: dict[bytes, bytes] = {}
    return _UUID.sub(lambda m: drawn.setdefault(m[0], b"(uuid %d)" % len(drawn)), content)


def _lines(case: Case, one: bytes, other: bytes) -> Finding:
    """Return a finding with the first line that differs."""
    lines = [one.split(b"\n"), other.split(b"\n")]
    pairs = list(zip(*lines, strict=False))
    differing = [n for n, (a, b) in enumerate(pairs) if a != b]
    longer = abs(len(lines[0]) - len(lines[1]))
    first = differing[0] if differing else len(pairs)
    return case.finding(
        DIFFERENT,
        count=max(map(len, lines)),
        differing=len(differing) + longer,
        recorded=_shown(lines[0], first),
        replayed=_shown(lines[1], first),
        detail=f"first in line {first + 1}",
    )


def _shown(lines: list[bytes], at: int) -> str | None:
    return lines[at][:_SHOWN].decode("utf-8", "replace") if at < len(lines) else None
