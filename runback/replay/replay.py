"""Run a run again from its record, compare the two, and leave the verdict."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from runback.errors import NoRecord, RecordError, RunbackError
from runback.record import files, manifest
from runback.replay import attempt as attempts
from runback.replay import command, data, dvc, environment, process, publish, replayed, start
from runback.replay.errors import ReplayFailed, ReplayInterrupted
from runback.replay.judge import as_object, judged
from runback.replay.original import part
from runback.replay.verdict import IDENTICAL
from runback.runs.folder import record_of
from runback.store.tags import DVC_STAGE_TAG, FROM_TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from runback.replay.attempt import Attempt
    from runback.replay.judge import Replay
    from runback.replay.plan import Plan
    from runback.replay.process import Ended
    from runback.runs.run import Run

    Tell = Callable[[str], None]

_LAST_BYTES = 4_096


def replay(plan: Plan, tell: Tell, is_trial: bool = False) -> Replay:
    """Run the plan to its verdict. tell: is told in sentences what is going on.

    is_trial: leave the verdict nowhere; so does a replay with something set otherwise.
    The original is not touched, but for its tag and badge. Raises AttemptGoesOn,
    ReplayFailed, ReplayInterrupted, EnvironmentFailed, ImageError; then what was done
    lies in the attempt's folder, and the same call begins anew.
    """
    original = plan.original
    with attempts.begun(original) as attempt:
        pulled = dvc.fetch(original, plan.fetched, attempt.folder / "data", tell, plan.wish.data)
        plan = replace(plan, data={**plan.data, **pulled})
        attempts.link(attempt.code, plan.data)
        ready = environment.prepare(plan.environment, original, attempt.code, plan.around)
        plan = replace(plan, environment=ready)
        tell(f"replaying {original.run.short_id} {original.run.name} in {attempt.folder}")
        tell(f"environment: {ready.said}")
        ended = _trained(plan, attempt)
        run = _made(plan, attempt, ended)
        for name in data.changed(original, plan.data, plan.digests):
            tell(f"warning: the training changed the data {name}, at {plan.data[name]}")
        done = judged(plan, attempt, run, replayed.nested(original, attempt), ended)
        if not is_trial and not plan.wish.settings:
            _publish(done, tell)
        if done.verdict == IDENTICAL and not plan.wish.keep:
            attempt.remove()
            done = replace(done, folder=None)
    return done


def _publish(done: Replay, tell: Tell) -> None:
    wish = done.plan.wish
    is_part = bool(wish.ignore) or wish.from_step is not None
    verdict = f"{done.verdict} in part" if is_part else done.verdict
    try:
        publish.publish(done.plan.original, done.run, verdict, as_object(done))
    except (RunbackError, OSError) as error:  # it was reached all the same
        tell(f"warning: the verdict is not written down: {error}")


def _trained(plan: Plan, attempt: Attempt) -> Ended:
    original, code = plan.original, attempt.code
    stage = original.run.tags.get(DVC_STAGE_TAG)
    settings = {
        **{"MLFLOW_TRACKING_URI": f"sqlite:///{original.root}/mlflow.db"},
        **{"_MLFLOW_SERVER_ARTIFACT_ROOT": f"{original.root}/mlruns"},
        **{command.REPLAY: original.id, command.ATTEMPT: attempt.token},
        "DVC_ROOT": str(code),  # as in a stage of DVC: DVCLive makes no experiment of it
        **({"DVC_STAGE": stage} if stage else {}),  # its dvc.yaml may lie in another folder
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
    folder.mkdir(parents=True, exist_ok=True)  # an empty one, or one that git ignores
    try:
        return process.run(
            line, folder, environ, plan.wish.timeout_s, plan.cores, handles=[attempt.lock]
        )
    except OSError as error:
        what = f"cannot be started: {line[0]}: {error.strerror}"
        raise ReplayFailed(original.id, what, attempt.folder, "") from error


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
        hint = "what git ignores is in no record: --data NAME=PATH links it" if ended.status else ""
        raise ReplayFailed(original.id, what, attempt.folder, hint)
    if run.status != original.run.status == "FINISHED":
        what = f"({run.short_id}) ended as {run.status}, with status {ended.status}"
        raise ReplayFailed(original.id, what, attempt.folder, _hint(run), _last_line(run))
    if plan.wish.from_step is not None and FROM_TAG not in run.tags:
        what = (
            f"did not begin at the checkpoint of step {plan.wish.from_step}: it never asked for it"
        )
        hint = "docs/python.md: a script that asks for experiment.latest goes on from there"
        raise ReplayFailed(original.id, what, attempt.folder, hint)
    return run


def _hint(run: Run) -> str:
    """Return what helps where the training wanted what no replay has, else ""."""
    last = _last_line(run)
    if last.startswith("EOFError"):
        return "it reads from stdin, of which a record has nothing: take its input from arguments"
    if "display" in last.lower():
        return "it opens windows: without a display, MPLBACKEND=Agg draws into files"
    return ""


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
