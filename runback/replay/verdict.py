"""The verdict of a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.evidence.finding import (
    ARTIFACTS,
    CHECKPOINTS,
    DATA,
    DIFFERENT,
    EXTRA,
    LEDGER,
    METRICS,
    MISSING,
    NOT_AGAIN,
    SAME,
    UNKNOWN,
    WITHIN,
)

if TYPE_CHECKING:
    from runback.evidence.finding import Evidence

IDENTICAL, WITHIN_TOLERANCE = "identical", "within tolerance"
DIFFERS, NOT_COMPARABLE = "different", "not comparable"
# What a training computes: where none of it could be compared, equal params prove nothing.
_COMPUTED = (METRICS, LEDGER, CHECKPOINTS, ARTIFACTS)


def verdict(
    evidence: Evidence,
    why_not: str = "",
    from_step: int | None = None,
    is_by_number: bool = False,
) -> tuple[str, str]:
    """Return the verdict, and why if that is not for the findings to say.

    why_not: why bits cannot agree on this machine, "" if they can. A difference there
    is none of the training's, so it is never called different. from_step: the replay
    began after it, as it was told to; what came before counts neither way, and is said.
    is_by_number: a tolerance is asked for, of which the ledger's digests cannot tell.
    """
    early = NOT_AGAIN.format(from_step)
    # Data that changed and changed nothing is a drift: it is no result.
    asides = (DATA, LEDGER) if is_by_number else (DATA,)
    if any(f.part not in asides for f in evidence.of(DIFFERENT, MISSING, EXTRA)):
        return (NOT_COMPARABLE, why_not) if why_not else (DIFFERS, "")
    # What neither had, or only the replay, is none: there was nothing to compare.
    unknown = [f for f in evidence.of(UNKNOWN) if f.count and f.detail != early]
    if unknown:
        count = "one result" if len(unknown) == 1 else f"{len(unknown)} results"
        return NOT_COMPARABLE, f"{count} could not be compared"
    if not any(f.part in _COMPUTED for f in evidence.of(SAME, WITHIN)):
        return NOT_COMPARABLE, "nothing that the training computed was recorded"
    since = "" if from_step is None else f"of what came after step {from_step}"
    return (WITHIN_TOLERANCE if evidence.of(WITHIN) else IDENTICAL, since)
