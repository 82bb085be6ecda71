"""Compare the checkpoints of two runs: paired by name, step and order, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.evidence import folders, volatile
from runback.evidence.finding import (
    ASIDE,
    CHECKPOINTS,
    EXTRA,
    KILLED,
    MISSING,
    NOT_AGAIN,
    SAME,
    UNKNOWN,
    Finding,
)
from runback.evidence.folders import Folders
from runback.record import checkpoint, files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runback.evidence.side import Digests, Pair, Side
    from runback.record.state import Rows

# LoggedModelStatus of MLflow: what is PENDING or FAILED has no files to rely on.
_READY = 2
_OWN = f"{files.FOLDER}/{checkpoint.NAME}"  # says of the others what is compared itself


@dataclass(frozen=True, order=True)
class Key:
    """What names a checkpoint in both runs. order: among those of one name, step and kind."""

    step: int
    name: str
    order: int
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.name} at step {self.step}" + (f" ({self.order + 1})" if self.order else "")


def damage(rows: Rows) -> str:
    """Return in words what is damaged of the rows, "" if nothing that counts here is."""
    steps = [row.get("step") for row in rows.get("inputs", [])]
    times = [row.get("creation_timestamp_ms") for row in rows.get("logged_models", [])]
    for name, values in (("a step", steps), ("a time of creation", times)):
        if wrong := [value for value in values if value is not None and type(value) is not int]:
            return f"{name} of a checkpoint is {wrong[0]!r}"[:200]
    return ""


def keys(run_id: str, rows: Rows) -> dict[Key, str]:
    """Return the id of each checkpoint of the run that is whole."""
    outputs = [row for row in rows.get("inputs", []) if row.get("source_id") == run_id]
    steps = {row.get("destination_id"): number(row.get("step")) for row in outputs}
    models = [row for row in rows.get("logged_models", []) if row.get("status") == _READY]
    found: dict[Key, str] = {}
    for row in sorted(models, key=lambda row: number(row.get("creation_timestamp_ms"))):
        step, name, order = steps.get(row.get("model_id"), 0), str(row.get("name")), 0
        kind = str(row.get("model_type") or "")
        while Key(step, name, order, kind) in found:
            order += 1
        found[Key(step, name, order, kind)] = str(row.get("model_id"))
    return found


def number(value: object) -> int:
    return value if isinstance(value, int) else 0


def kept_ms(run_id: str, rows: Rows, step: int) -> int | None:
    """Return when the last checkpoint of a step was made, None if the rows do not say."""
    ids = {model_id for key, model_id in keys(run_id, rows).items() if key.step == step}
    times = [
        number(row.get("creation_timestamp_ms"))
        for row in rows.get("logged_models", [])
        if row.get("model_id") in ids
    ]
    return max(filter(None, times), default=None)


def words(run_id: str, rows: Rows) -> dict[str, str]:
    """Return by model id what stands for it when texts are compared."""
    return {model_id: f"({key})" for key, model_id in keys(run_id, rows).items()}


def compare(pair: Pair) -> Iterator[Finding]:
    """Yield what is found of each checkpoint of either run."""
    recorded = keys(pair.recorded.run_id, pair.rows[0])
    replayed = keys(pair.replayed.run_id, pair.rows[1])
    for reason in filter(None, map(damage, pair.rows)):
        yield Finding(CHECKPOINTS, files.RUN, UNKNOWN, detail=reason)
    early = [key for key in recorded.keys() - replayed.keys() if _is_early(key, pair)]
    if early:
        detail = NOT_AGAIN.format(pair.wish.from_step)
        yield Finding(CHECKPOINTS, "checkpoints", UNKNOWN, count=len(early), detail=detail)
    for key in sorted((recorded.keys() | replayed.keys()) - set(early)):
        one, other = recorded.get(key), replayed.get(key)
        if glob := volatile.ignored(key.name, pair.wish.ignore):
            yield Finding(CHECKPOINTS, str(key), ASIDE, detail=f"as asked: {glob}")
        elif one is None or other is None:
            yield _alone(key, pair, one is None)
        else:
            yield from _compared(pair, key, one, other)


def _is_early(key: Key, pair: Pair) -> bool:
    return pair.wish.from_step is not None and key.step <= pair.wish.from_step


def _alone(key: Key, pair: Pair, is_extra: bool) -> Finding:
    if not is_extra:
        return Finding(CHECKPOINTS, str(key), MISSING)
    if pair.wish.is_partial:
        return Finding(CHECKPOINTS, str(key), ASIDE, detail=KILLED)
    return Finding(CHECKPOINTS, str(key), EXTRA)


def _compared(pair: Pair, key: Key, one: str, other: str) -> Iterator[Finding]:
    both = _digests(pair.recorded, one), _digests(pair.replayed, other)
    if not both[0] or not both[1]:
        detail = "there are no digests of its files" + _where(pair, one, other)
        yield Finding(CHECKPOINTS, str(key), UNKNOWN, detail=detail)
        return
    same = [name for name, known in both[0].items() if _is_same(known, both[1].get(name))]
    if same:
        size = sum(known["size_bytes"] for name, known in both[0].items() if name in same)
        of = f"{len(same)} of {len(both[0])} files" if len(same) < len(both[0]) else "all files"
        yield Finding(CHECKPOINTS, str(key), SAME, count=size, detail=f"{of} by digest")
    rest = [{n: d for n, d in found.items() if n not in same} for found in both]
    paths = pair.recorded.models.get(one), pair.replayed.models.get(other)
    shared = pair.owns, pair.wish
    yield from folders.compare(Folders(CHECKPOINTS, f"{key}/", (rest[0], rest[1]), paths, *shared))


def _digests(side: Side, model_id: str) -> Digests:
    return {name: known for name, known in side.model_digests(model_id).items() if name != _OWN}


def _is_same(one: Mapping[str, object], other: Mapping[str, object] | None) -> bool:
    return "digest" in one and type(one.get("size_bytes")) is int and one == other


def _where(pair: Pair, one: str, other: str) -> str:
    away = one not in pair.recorded.models or other not in pair.replayed.models
    return ", and they are not here" if away else ""
