"""Judge a replay: compare the two runs, and say what speaks for which cause."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runback.errors import NoRecord, RecordError
from runback.evidence.compare import compare
from runback.evidence.finding import (
    ARTIFACTS,
    CHECKPOINTS,
    DIFFERENT,
    METRICS,
    MISSING,
    SAME,
    STATUS,
    UNKNOWN,
    Finding,
)
from runback.evidence.side import Side
from runback.evidence.side import Wish as Comparison
from runback.record import files, manifest, metrics
from runback.record.metrics import word
from runback.replay import causes, suspects
from runback.replay.drift import DATA, RECORD, Drift
from runback.replay.drifts import drifts
from runback.replay.original import model_folders, part
from runback.replay.verdict import DIFFERS, IDENTICAL, WITHIN_TOLERANCE, verdict
from runback.runs.folder import record_of
from runback.store import history
from runback.store.readable import readable
from runback.store.tags import FROM_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runback.evidence.finding import Evidence
    from runback.replay.attempt import Attempt
    from runback.replay.causes import Cause
    from runback.replay.original import Original
    from runback.replay.plan import Plan, Wish
    from runback.replay.process import Ended
    from runback.runs.run import Run


@dataclass(frozen=True)
class Replay:
    """A replay that came to its end. why: what the verdict does not say, "" if it says all.

    drifts: those met before and after. folder: of the attempt, None if it was removed.
    training_s: how long the training took.
    """

    plan: Plan
    run: Run
    evidence: Evidence
    verdict: str
    why: str
    drifts: Sequence[Drift]
    causes: Sequence[Cause] = field(default_factory=list)
    folder: Path | None = None
    training_s: float = 0.0


def judged(
    plan: Plan, attempt: Attempt, run: Run, others: Sequence[tuple[Run, Run | None]], ended: Ended
) -> Replay:
    """Return the verdict on a run that a replay made, with all that speaks for it.

    others: the original's nested runs, each with the one that answers to it.
    """
    original, wish = plan.original, plan.wish
    own, new = side(original.run), side(run)
    how = _comparison(plan, attempt, run)
    evidence = compare(own, new, how)
    evidence.findings += [*_damage(original), *_later(original)]
    evidence.findings += [_of_nested(one, other, how, plan.why_not) for one, other in others]
    said, why = verdict(evidence, plan.why_not, how.from_step, wish.tolerance is not None)
    met = _all(
        plan.drifts, drifts(original.manifest, new.manifest), part(dict(new.manifest), "data")
    )
    met += [Drift(RECORD, text, None, None) for text in original.damaged]
    found = suspects.suspects(attempt.code, original.script) if said == DIFFERS else []
    ranked = causes.rank(met, evidence, found) if said == DIFFERS else []
    why = why or _in_part(wish)
    return Replay(plan, run, evidence, said, why, met, ranked, attempt.folder, ended.seconds)


def side(run: Run) -> Side:
    """Return a run as the comparison takes it. Raises NoRecord, RecordError."""
    record = record_of(run.root, run.listed)
    return Side(run.id, record.parent, model_folders(run), manifest.read(record, run.id))


def _comparison(plan: Plan, attempt: Attempt, run: Run) -> Comparison:
    wish = plan.wish
    said = run.tags.get(FROM_TAG, "")
    is_step = re.fullmatch(r"-1|\d{1,18}", said)
    return Comparison(
        tolerance=wish.tolerance,
        ignore=wish.ignore,
        from_step=int(said) if is_step else wish.from_step,
        is_resumed=FROM_TAG in run.tags and wish.from_step is None,
        is_partial=plan.original.was_killed,
        roots=(plan.original.project, str(attempt.code)),
    )


def _in_part(wish: Wish) -> str:
    return f"but for what matches {', '.join(wish.ignore)}" if wish.ignore else ""


def _of_nested(one: Run, other: Run | None, how: Comparison, why_not: str) -> Finding:
    """Return what came of a run that the original's process made below it."""
    name = f"nested run {one.name} ({one.short_id})"
    if other is None:
        return Finding(STATUS, name, MISSING)
    try:
        said, why = verdict(compare(side(one), side(other), how), why_not)
    except (NoRecord, RecordError) as error:
        return Finding(STATUS, name, UNKNOWN, detail=str(error))
    is_good = said in (IDENTICAL, WITHIN_TOLERANCE)
    status = SAME if is_good else DIFFERENT if said == DIFFERS else UNKNOWN
    return Finding(
        STATUS, name, status, detail=why or f"runback diff {one.short_id} {other.short_id}"
    )


def _damage(original: Original) -> list[Finding]:
    """Return the results that are not what was recorded; only their digests were compared."""
    return [
        Finding(CHECKPOINTS if text.startswith("model ") else ARTIFACTS, text, DIFFERENT)
        for text in original.damaged
    ]


def _later(original: Original) -> list[Finding]:
    """Return the points that the database has and the record has not: logged after its end."""
    with readable(original.root) as connection:
        there = len(history.all_points(connection, original.id))
    path = original.record / files.METRICS
    recorded = metrics.count(path) if path.exists() else 0
    if there <= recorded:
        return []
    text = "logged after the record's end, or by another process"
    return [Finding(METRICS, f"{there - recorded} points", UNKNOWN, there - recorded, detail=text)]


def _all(before: Sequence[Drift], after: Sequence[Drift], data: Mapping[str, Any]) -> list[Drift]:
    """Return the drifts met before the run and in it; what only seemed restored is not.

    data: what the replay read. Where the snapshot has it, that is as recorded.
    """
    found = {(drift.kind, drift.name): drift for drift in before}
    met = {(drift.kind, drift.name): drift for drift in after}
    for key, drift in met.items():
        if key not in found or found[key].restored:
            found[key] = drift
    for key, drift in found.items():
        if drift.kind == DATA and drift.name in data and key not in met:
            found[key] = replace(drift, restored=True)
    return list(found.values())


def as_object(done: Replay) -> dict[str, Any]:
    """Return all that is known of a replay, as JSON has it."""
    from dataclasses import asdict

    original = done.plan.original
    divergence = done.evidence.divergence
    findings = [asdict(finding) for finding in done.evidence.findings]
    return {
        "format": files.FORMAT,
        "run_id": original.id,
        "replay_run_id": done.run.id,
        "verdict": done.verdict,
        "why": done.why,
        "tolerance": done.plan.wish.tolerance,
        "training_s": round(done.training_s, 3),
        "environment": done.plan.environment.said,
        "folder": str(done.folder) if done.folder else None,
        "divergence": asdict(divergence) if divergence else None,
        "findings": [{name: _plain(value) for name, value in f.items()} for f in findings],
        "drifts": [asdict(drift) for drift in done.drifts],
        "causes": [asdict(cause) for cause in done.causes],
        "damaged": original.damaged,
        "not_compared": ["tags", "system metrics", "times", "output"],
    }


def _plain(value: Any) -> Any:
    return word(value) if isinstance(value, float) else value
