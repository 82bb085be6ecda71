"""Word what two runs have in common and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.cli import words
from runback.evidence.finding import (
    ASIDE,
    DIFFERENT,
    EXTRA,
    METRICS,
    MISSING,
    PARTS,
    SAME,
    STATUS,
    UNKNOWN,
    WITHIN,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runback.evidence.finding import Divergence, Evidence, Finding, Value
    from runback.replay.drift import Drift

_MOST = 4
_FEW = 4
_LONGEST = 100
# More doubles than this between two numbers say no more than the numbers do.
_FAR = 1_000_000


def lines(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Yield part and text: of each what agrees, what does not, and what was not compared."""
    for part in PARTS:
        found = [finding for finding in evidence.findings if finding.part == part]
        same = [finding for finding in found if finding.status == SAME]
        if same and part != STATUS:  # that it ended as the original is no news
            yield part, _same(part, same)
            yield from ((part, text) for text in _fields_aside(same))
        yield from _each(part, [f for f in found if f.status in (DIFFERENT, MISSING, EXTRA)])
        yield from _each(part, [f for f in found if f.status == WITHIN])
        if nothing := [f for f in found if f.status == UNKNOWN and not f.count]:
            yield part, f"none: {nothing[0].detail}"
            found = [finding for finding in found if finding not in nothing]
        for status in (ASIDE, UNKNOWN):
            if some := [finding for finding in found if finding.status == status]:
                yield part, f"{status}: {_named(some)}"


def divergence(found: Divergence) -> str:
    """Return where two ledgers part, in words."""
    where = "at the beginning" if found.at == "begin" else f"at step {found.step}"
    fit = f" of fit {found.fit}" if found.fit else ""
    names = f" ({', '.join(found.names)})" if found.names else ""
    detail = f"; {found.detail}" if found.detail else ""
    return f"{where}, epoch {found.epoch}{fit}: {found.what}{names}{detail}"


def drift(found: Drift) -> str:
    """Return a drift in words: what it was, what it is."""
    name = found.kind if found.name == found.kind else f"{found.kind} {found.name}".rstrip()
    was, now = (_short(value) for value in (found.recorded, found.now))
    if found.recorded is None and found.now is None:
        return name
    if found.recorded is None:
        return f"{name}: {now}, was not there"
    if found.now is None:
        return f"{name}: {was}, is not there now"
    return f"{name}: {was} → {now}"


def _same(part: str, same: Sequence[Finding]) -> str:
    names = [finding.name for finding in same]
    text = f"{some(names)} the same" if len(names) <= _FEW else f"{len(names):,} the same"
    if part == METRICS:
        text += f", {words.plural(sum(finding.count for finding in same), 'point')}, to the bit"
    return text


def _fields_aside(same: Sequence[Finding]) -> Iterator[str]:
    """Yield the files that are the same but for what is different each time."""
    for finding in same:
        if finding.detail.startswith(ASIDE):
            yield f"in {finding.name} {finding.detail}"


def _each(part: str, found: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    for finding in found[:_MOST]:
        yield part, _differing(finding)
    if len(found) > _MOST:
        yield part, f"and {len(found) - _MOST} more (--json has all)"


def _differing(finding: Finding) -> str:
    where = "" if finding.step is None else f" from step {finding.step}"
    if finding.status in (MISSING, EXTRA):
        text = f"{finding.name}: {finding.status} in the replay{where}"
        return f"{text}; {finding.detail}" if finding.detail else text
    text = f"{finding.name}: {finding.status}{where}"
    if finding.recorded is not None or finding.replayed is not None:
        text += f", {_value(finding.recorded)} → {_value(finding.replayed)}"
    notes = [
        words.plural(finding.ulps, "ulp") if finding.ulps and finding.ulps < _FAR else "",
        f"by {finding.largest:.3g} at most" if finding.largest is not None else "",
        f"{finding.differing:,} of {finding.count:,}" if finding.count > 1 else "",
        finding.detail,
    ]
    rest = "; ".join(note for note in notes if note)
    return f"{text} ({rest})" if rest else text


def _value(value: Value | None) -> str:
    if isinstance(value, float):
        return repr(value)
    return "nothing" if value is None else _short(str(value))


def _named(found: Sequence[Finding]) -> str:
    """Return names and reasons; those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for finding in found:
        by_reason.setdefault(finding.detail, []).append(finding.name)
    texts = []
    for reason, names in by_reason.items():
        shown = some(names)
        is_part = names == [found[0].part]
        texts.append(reason if is_part else f"{shown} ({_short(reason)})" if reason else shown)
    return "; ".join(texts)


def some(names: Sequence[str]) -> str:
    """Return a few names, and how many more there are; those of one folder as one."""
    folders = {name.partition("/")[0] for name in names}
    if len(names) > _FEW and len(folders) == 1:
        return f"{len(names)} of {folders.pop()}/"
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _short(text: str | None) -> str:
    """Return a text that fits a line: digests by their first digits."""
    text = text or ""
    if text.startswith("sha256:") and len(text) == 71:
        return text[:19]
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
