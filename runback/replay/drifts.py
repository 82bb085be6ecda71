"""Find what is otherwise than it was recorded: two manifests, or one and a description of now."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runback.replay import circumstances
from runback.replay.circumstances import EDITED, PARTS, SWITCHES_AT_END, SWITCHES_AT_START
from runback.replay.drift import CODE, CORES, CPU, PACKAGE, SEED, THREADS, VARIABLE, Drift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runback.replay.circumstances import Part

HASH_SEED = "hash seed"
_FILES, _VARIABLES = ("code", "files"), ("command", "environ")
_DIGEST = re.compile(r"(?:sha256|md5):[0-9a-f]{20,}(?:\.dir)?")


def drifts(
    recorded: Mapping[str, Any], now: Mapping[str, Any], is_before: bool = False
) -> list[Drift]:
    """Return the differences between two manifests, of which either may be nonsense.

    now: the replay's own, or what is known before it, in the same shape; a part that
    one of the two lacks is no drift. is_before: the replay will restore the code, the
    variables, and the number of cores where there are more. In the order of the parts
    and their names.
    """
    found = dict[tuple[str, str], Drift]()
    for part in _told(recorded, now):
        for drift in _of_part(part, recorded, now, is_before):
            found.setdefault((drift.kind, drift.name), drift)
    if not is_before and _draws_hashes(recorded) and _draws_hashes(now):
        new = Drift(SEED, HASH_SEED, "drawn at the start", "drawn at the start, another")
        found[SEED, HASH_SEED] = new
    return list(found.values())


def _told(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Part]:
    """Return the parts to compare: of randomness the end alone, if both runs had one.

    What is loaded at the start is a matter of milliseconds.
    """
    has_end = all(SWITCHES_AT_END.of(manifest) is not None for manifest in (recorded, now))
    return [part for part in PARTS if not (has_end and part is SWITCHES_AT_START)]


def _of_part(
    part: Part, recorded: Mapping[str, Any], now: Mapping[str, Any], is_before: bool
) -> Iterator[Drift]:
    was, new = part.of(recorded), part.of(now)
    if was is None or new is None:
        return
    for kind, name in sorted(was.keys() & new.keys() if part.both else was.keys() | new.keys()):
        before, after = was.get((kind, name), part.absent), new.get((kind, name), part.absent)
        if before != after:
            words = _words(kind, name, before, after)
            restored = is_before and _is_restored(part, kind, before, after)
            yield Drift(kind, name, *words, restored=restored)


def _words(
    kind: str, name: str, before: str | None, after: str | None
) -> tuple[str | None, str | None]:
    """Return two values as people compare them: without what both say, where that is long."""
    if kind == CPU and name == "flags":
        was, new = set((before or "").split()), set((after or "").split())
        return " ".join(sorted(was - new)) or None, " ".join(sorted(new - was)) or None
    if kind == PACKAGE and before and after and _is_another_version(before, after):
        # That says enough.
        before, after = (_DIGEST.sub("", text).strip() for text in (before, after))
    return _shortened(before), _shortened(after)


def _is_another_version(before: str, after: str) -> bool:
    is_edited = EDITED in f"{before} {after}"
    return not is_edited and before.split()[:1] != after.split()[:1]


def _shortened(text: str | None) -> str | None:
    return None if text is None else _DIGEST.sub(lambda m: circumstances.short(m[0]), text)


def _is_restored(part: Part, kind: str, before: str | None, after: str | None) -> bool:
    if kind == CORES:
        return _number(after) > _number(before)
    return (kind == CODE and part.path == _FILES) or (
        kind in (VARIABLE, THREADS) and part.path == _VARIABLES
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return float("inf")  # no limit


def _draws_hashes(manifest: Mapping[str, Any]) -> bool:
    """Say whether Python drew its hash seed: the order of sets is another at each start."""
    try:
        is_random = manifest["randomness"]["at_start"]["hash_randomization"] is True
        given = manifest["command"]["environ"].get("PYTHONHASHSEED")
        return is_random and given in (None, "", "random")
    except (KeyError, TypeError, AttributeError):
        return False
