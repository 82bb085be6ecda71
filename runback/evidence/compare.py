"""Compare two recorded runs: all parts of them, joined."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.evidence import artifacts, checkpoints, data, ledger, metrics, params
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
    PARAMS,
    SAME,
    STATUS,
    UNKNOWN,
    WITHIN,
    Evidence,
    Finding,
)
from runback.evidence.own import own
from runback.evidence.side import Pair, Side
from runback.evidence.side import Wish as Wish
from runback.record import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PARTS: tuple[tuple[str, Callable[[Pair], Iterator[Finding]]], ...] = (
    (STATUS, params.statuses),
    (PARAMS, params.compare),
    (METRICS, metrics.compare),
    (DATA, data.compare),
    (CHECKPOINTS, checkpoints.compare),
    (ARTIFACTS, artifacts.compare),
)
_COMPUTED = {METRICS, LEDGER, CHECKPOINTS, ARTIFACTS}  # what a training makes, not what it is given


def compare(recorded: Side, replayed: Side, wish: Wish | None = None) -> Evidence:
    """Return what is found of each part of two runs; what cannot be read is not compared.

    Raises RecordError: run.json of one of them cannot be read.
    """
    pair, evidence = _pair(recorded, replayed, wish or Wish()), Evidence()
    for part, look in _PARTS:
        try:
            evidence.findings.extend(_of_last_process(pair, finding) for finding in look(pair))
        except RecordError as error:
            evidence.findings.append(_unread(part, error))
    try:
        found, evidence.divergence = ledger.compare(pair)
        evidence.findings.extend(found)
    except RecordError as error:
        evidence.findings.append(_unread(LEDGER, error))
    return evidence


def is_identical(evidence: Evidence) -> bool:
    """Say whether all that was there was compared and is the same to the bit.

    Not where the training has left nothing to compare: no metric, tensor or artifact.
    """
    return _has_computed(evidence, SAME) and not _against(evidence, WITHIN)


def is_within(evidence: Evidence) -> bool:
    """Say the same of runs that differ by no more than the tolerance."""
    return _has_computed(evidence, SAME, WITHIN) and not _against(evidence)


def _has_computed(evidence: Evidence, *statuses: str) -> bool:
    return any(f.part in _COMPUTED and f.count for f in evidence.of(*statuses))


def _against(evidence: Evidence, *statuses: str) -> bool:
    """Say whether anything differs or was not compared; `count` 0 says that nothing was there."""
    if evidence.of(DIFFERENT, MISSING, EXTRA, *statuses):
        return True
    return any(finding.count for finding in evidence.of(UNKNOWN))


def _of_last_process(pair: Pair, finding: Finding) -> Finding:
    """Take back that something is missing which the process before may have left."""
    if not pair.wish.is_resumed or finding.status != MISSING:
        return finding
    is_left = finding.part == ARTIFACTS and pair.recorded.is_of_before(finding.name)
    if not is_left and finding.part != DATA:
        return finding
    return replace(finding, status=UNKNOWN, detail=NOT_AGAIN.format(pair.wish.from_step))


def _pair(recorded: Side, replayed: Side, wish: Wish) -> Pair:
    one, other = (state.read(side.record, side.run_id).rows for side in (recorded, replayed))
    roots = wish.roots or ("", "")
    owns = (
        own(recorded.run_id, one, checkpoints.words(recorded.run_id, one), roots[:1]),
        # A replay may well name what lies in the original's folder.
        own(replayed.run_id, other, checkpoints.words(replayed.run_id, other), roots),
    )
    return Pair(recorded, replayed, wish, (one, other), owns)


def _unread(part: str, error: RecordError) -> Finding:
    return Finding(part, error.path.name, UNKNOWN, detail=error.reason)
