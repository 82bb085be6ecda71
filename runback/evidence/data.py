"""Compare the digests of the data: of what MLflow was told, and of what the project declares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runback.evidence.finding import DATA, DIFFERENT, EXTRA, MISSING, SAME, UNKNOWN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.side import Pair, Side
    from runback.record.state import Rows


def compare(pair: Pair) -> Iterator[Finding]:
    """Yield one finding for each data set and each declared path."""
    recorded, replayed = map(_datasets, pair.rows)
    for name in sorted(recorded.keys() | replayed.keys()):
        yield _finding(f"dataset {name}", recorded.get(name), replayed.get(name))
    roots = pair.wish.roots or ("", "")
    yield from _declared(
        _paths(pair.recorded, (roots[0],)),
        # The replay may read the original's data where they lay.
        _paths(pair.replayed, (roots[1], roots[0])),
    )


def _finding(name: str, one: str | None, other: str | None, detail: str = "") -> Finding:
    status = SAME if one == other else DIFFERENT
    if one is None or other is None:
        status = MISSING if one else EXTRA
    return Finding(
        DATA, name, status, recorded=one, replayed=other, differing=int(one != other), detail=detail
    )


def _datasets(rows: Rows) -> dict[str, str]:
    """Return the digest of each data set of the run; of several with one name, all."""
    used = {row.get("source_id") for row in rows.get("inputs", []) if _is_dataset(row)}
    found: dict[str, set[str]] = {}
    for row in rows.get("datasets", []):
        if row.get("dataset_uuid") in used:
            found.setdefault(str(row.get("name")), set()).add(str(row.get("digest")))
    return {name: ", ".join(sorted(digests)) for name, digests in found.items()}


def _is_dataset(row: dict[str, Any]) -> bool:
    return row.get("source_type") == "DATASET" and row.get("destination_type") == "RUN"


def _paths(side: Side, roots: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return what the manifest has of each declared path, by its path in the project."""
    declared = side.manifest.get("data")
    found = {}
    for path, known in declared.items() if isinstance(declared, dict) else ():
        inside = (path[len(r) + 1 :] for r in roots if len(r) > 1 and path.startswith(f"{r}/"))
        found[next(inside, path)] = known if isinstance(known, dict) else {}
    return found


def _declared(
    recorded: dict[str, dict[str, Any]], replayed: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    for path in sorted(recorded.keys() | replayed.keys()):
        one, other = recorded.get(path, {}), replayed.get(path, {})
        digests = _text(one.get("digest")), _text(other.get("digest"))
        reason = _text(one.get("missing")) or _text(other.get("missing")) or ""
        if digests == (None, None):
            yield Finding(DATA, path, UNKNOWN, detail=reason or "no digest was taken")
        elif digests[0] == digests[1] and (one.get("unreadable") or other.get("unreadable")):
            yield Finding(DATA, path, UNKNOWN, detail="some of its files could not be read")
        else:
            yield _finding(path, *digests, reason)


def _text(value: Any) -> str | None:
    return (value if isinstance(value, str) else json.dumps(value)) if value else None
