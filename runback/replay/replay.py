"""Run a run again from its record, compare the two, and leave the verdict."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runback.errors import NoRecord, RecordError, RunbackError
from runback.evidence.compare import compare
from runback.evidence.finding import ARTIFACTS, CHECKPOINTS, DIFFERENT, Finding
from runback.evidence.side import Side
from runback.evidence.side import Wish as Comparison
from runback.record import files, manifest
from runback.replay import attempt as attempts
from runback.replay import causes, command, environment, process, publish, replayed, start, suspects
from runback.replay.drift import DATA, RECORD, Drift
from runback.replay.drifts import drifts
from runback.replay.errors import ReplayFailed, ReplayInterrupted
from runback.replay.original import model_folders, part
from runback.replay.verdict import DIFFERS, IDENTICAL, verdict
from runback.runs.folder import record_of
from runback.store.tags import FROM_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runback.evidence.finding import Evidence
    from runback.replay.attempt import Attempt
    from runback.replay.causes import Cause
    from runback.replay.original import Original
    from runback.replay.plan import Plan, Wish
    from runback.replay.process import Ended
    from runback.runs.run import Run

    Tell = Callable[[str], None]

_LAST_BYTES = 4_096


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


def replay(plan: Plan, tell: Tell) -> Replay:
    """Run the plan to its verdict. tell: is told in sentences what is going on.

    The original is not touched, but for its tag and badge. Raises AttemptGoesOn,
    ReplayFailed, ReplayInterrupted, EnvironmentFailed, ImageError; then what was done
    lies in the attempt's folder, and the same call begins anew.
    """
    original = plan.original
    with attempts.begun(original, plan.data) as attempt:
        ready = environment.prepare(plan.environment, original, attempt.code, plan.around)
        plan = replace(plan, environment=ready)
        tell(f"replaying {original.run.short_id} {original.run.name} in {attempt.folder}")
        tell(f"environment: {ready.said}")
        ended = _trained(plan, attempt)
        run = _made(plan, attempt, ended)
        done = _judged(plan, attempt, run, ended)
        try:
            publish.publish(original, run, done.verdict, as_object(done))
        except (RunbackError, OSError) as error:  # it was reached all the same
            tell(f"warning: the verdict is not written down: {error}")
        if done.verdict == IDENTICAL and not plan.wish.keep:
            attempt.remove()
            done = replace(done, folder=None)
    return done


def _trained(plan: Plan, attempt: Attempt) -> Ended:
    original, code = plan.original, attempt.code
    settings = {
        **{"MLFLOW_TRACKING_URI": f"sqlite:///{original.root}/mlflow.db"},
        **{"_MLFLOW_SERVER_ARTIFACT_ROOT": f"{original.root}/mlruns"},
        **{command.REPLAY: original.id, command.ATTEMPT: attempt.token},
        **plan.wish.settings,
    }
    if plan.wish.from_step is not None:
        settings[command.FROM] = str(plan.wish.from_step)
    words = command.words(original, code, plan.environment.python)
    folder = command.folder(original, code)
    environ = command.environ(original, code, plan.environ, settings)
    line, environ = start.line(
        *(plan.environment, original, code, words, folder, environ, plan.environ),
        mounted=[path for path in plan.data.values() if path.exists()],
        extra=plan.around.engine_args,
    )
    attempt.note(words=line, state="running")
    return process.run(
        line, folder, environ, plan.wish.timeout_s, plan.cores, handles=[attempt.lock]
    )


def _made(plan: Plan, attempt: Attempt, ended: Ended) -> Run:
    """Return the run that the training made. Raises ReplayFailed, ReplayInterrupted."""
    original = plan.original
    attempt.note(state="ended", status=ended.status)
    run = replayed.found(original, attempt)
    if ended.interrupted:
        raise ReplayInterrupted(original.id, attempt.folder)
    if ended.timed_out:
        what = f"was ended after {plan.wish.timeout_s:g} s, its time limit"
        raise ReplayFailed(original.id, what, attempt.folder, "")
    if run is None:
        what = f"ended with status {ended.status} and logged no run"
        raise ReplayFailed(original.id, what, attempt.folder, "")
    if ended.status and original.run.status == "FINISHED":
        what = f"({run.short_id}) ended with status {ended.status}, the original with 0"
        raise ReplayFailed(original.id, what, attempt.folder, _hint(run), _last_line(run))
    return run


def _hint(run: Run) -> str:
    """Return what helps where the training wanted what no replay has, else ""."""
    last = _last_line(run)
    if last.startswith("EOFError"):
        return "it reads from stdin, of which a record has nothing: take its input from arguments"
    if "display" in last.lower():
        return "it opens windows: without a display, MPLBACKEND=Agg draws into files"
    return ""


def _judged(plan: Plan, attempt: Attempt, run: Run, ended: Ended) -> Replay:
    original, wish = plan.original, plan.wish
    own, new = side(original.run), side(run)
    known = dict(new.manifest)
    how = Comparison(
        tolerance=wish.tolerance,
        ignore=wish.ignore,
        from_step=_from_step(run, wish),
        is_resumed=FROM_TAG in run.tags and wish.from_step is None,
        is_partial=original.was_killed,
        roots=(original.project, str(attempt.code)),
    )
    evidence = compare(own, new, how)
    evidence.findings += _damage(original)
    said, why = verdict(evidence, plan.why_not, how.from_step)
    met = _all(plan.drifts, drifts(original.manifest, new.manifest), part(known, "data"))
    met += [Drift(RECORD, text, None, None) for text in original.damaged]
    found = suspects.suspects(attempt.code, original.script) if said == DIFFERS else []
    ranked = causes.rank(met, evidence, found) if said == DIFFERS else []
    return Replay(plan, run, evidence, said, why, met, ranked, attempt.folder, ended.seconds)


def _damage(original: Original) -> list[Finding]:
    """Return the results that are not what was recorded; only their digests were compared."""
    return [
        Finding(CHECKPOINTS if text.startswith("model ") else ARTIFACTS, text, DIFFERENT)
        for text in original.damaged
    ]


def _from_step(run: Run, wish: Wish) -> int | None:
    """Return the step after which the replay began: as asked, or where the original resumed."""
    said = run.tags.get(FROM_TAG, "")
    return int(said) if re.fullmatch(r"-1|\d{1,18}", said) else wish.from_step


def side(run: Run) -> Side:
    """Return a run as the comparison takes it. Raises NoRecord, RecordError."""
    record = record_of(run.root, run.listed)
    return Side(run.id, record.parent, model_folders(run), manifest.read(record, run.id))


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


def _last_line(run: Run) -> str:
    """Return the exception that ended the training, or else the last line that it printed."""
    try:
        record = record_of(run.root, run.listed)
        if said := part(manifest.read(record, run.id), "ended").get("by"):
            return str(said).split("\n")[0]
        with os.fdopen(files.open_plain(record / files.OUTPUT), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except (OSError, NoRecord, RecordError):
        return ""
    return lines[-1].strip() if lines else ""


def as_object(done: Replay) -> dict[str, Any]:
    """Return all that is known of a replay, as JSON has it."""
    from dataclasses import asdict

    original = done.plan.original
    divergence = done.evidence.divergence
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
        "findings": [asdict(finding) for finding in done.evidence.findings],
        "drifts": [asdict(drift) for drift in done.drifts],
        "causes": [asdict(cause) for cause in done.causes],
        "damaged": original.damaged,
        "not_compared": ["tags", "system metrics", "times", "output"],
    }
