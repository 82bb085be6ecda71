"""Compare how two runs ended, and their params, by MLflow's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.evidence import volatile
from runback.evidence.finding import (
    ASIDE,
    DIFFERENT,
    EXTRA,
    KILLED,
    MISSING,
    NOT_AGAIN,
    PARAMS,
    SAME,
    STATUS,
    UNKNOWN,
    Finding,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.side import Pair
    from runback.record.state import Rows

FOLDERS = "the same but for the run's own folders and ids"


def statuses(pair: Pair) -> Iterator[Finding]:
    """Yield what is found of how the runs ended: MLflow's status, and what ended the process."""
    recorded, replayed = (str(rows["runs"][0].get("status")) for rows in pair.rows)
    yield _status(pair, "status", recorded, replayed)
    recorded = pair.owns[0].plain(pair.recorded.ended_by())
    replayed = pair.owns[1].plain(pair.replayed.ended_by())
    if recorded or replayed:
        yield _status(pair, "ended by", recorded, replayed)


def _status(pair: Pair, name: str, recorded: str, replayed: str) -> Finding:
    if recorded == replayed:
        return Finding(STATUS, name, SAME, recorded=recorded, replayed=replayed)
    status, detail = (ASIDE, KILLED) if pair.wish.is_partial else (DIFFERENT, "")
    return Finding(
        STATUS, name, status, recorded=recorded, replayed=replayed, differing=1, detail=detail
    )


def compare(pair: Pair) -> Iterator[Finding]:
    """Yield a finding for each param of either run: its exact text."""
    recorded, replayed = map(_values, pair.rows)
    for name in sorted(recorded.keys() | replayed.keys()):
        one, other = recorded.get(name), replayed.get(name)
        status, detail = _compared(pair, one, other)
        if status != SAME and (glob := volatile.ignored(name, pair.wish.ignore)):
            status, detail = ASIDE, f"as asked: {glob}"
        yield Finding(
            PARAMS,
            name,
            status,
            recorded=one,
            replayed=other,
            differing=int(one != other),
            detail=detail,
        )


def _compared(pair: Pair, one: str | None, other: str | None) -> tuple[str, str]:
    if pair.wish.is_resumed and one is not None:
        # The process before may have logged it: the replay took it over.
        return UNKNOWN, NOT_AGAIN.format(pair.wish.from_step)
    if one == other:
        return SAME, ""
    if other is None:
        return MISSING, ""
    if one is None:
        return (ASIDE, KILLED) if pair.wish.is_partial else (EXTRA, "")
    is_own = pair.owns[0].plain(one) == pair.owns[1].plain(other)
    return (SAME, FOLDERS) if is_own else (DIFFERENT, "")


def _values(rows: Rows) -> dict[str, str]:
    return {str(row.get("key")): str(row.get("value")) for row in rows.get("params", [])}
