"""Word a verdict: what was compared, what differs first, and why."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runback.cli import findings, words
from runback.cli.shared import is_terminal, print_json
from runback.cli.table import STYLES, Column, flat
from runback.cli.table import show as show_table
from runback.replay.drift import SEED
from runback.replay.verdict import IDENTICAL
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.replay.drift import Drift
    from runback.replay.explain import Explanation
    from runback.replay.judge import Replay
    from runback.replay.plan import Plan
    from runback.replay.several import Outcome

_MOST = 8


def show(done: Replay, explanation: Explanation | None) -> None:
    """Print the verdict, what was compared, and of a difference its causes."""
    original, run = done.plan.original, done.run
    took = words.duration(done.training_s)
    _headline(
        done.verdict, f"{original.run.short_id} {original.run.name}, in {took} as {run.short_id}"
    )
    if done.why:
        _line("why", done.why)
    for name, text in findings.lines(done.evidence):
        _line(name, text)
    if done.evidence.divergence:
        _line("parts first", findings.divergence(done.evidence.divergence))
    _show_drifts(_telling(done.drifts, is_same=done.verdict == IDENTICAL))
    _show_causes(done)
    if explanation:
        _show_explanation(explanation)
    elif done.causes:
        _line(
            "next", f"runback replay {original.run.short_id} --explain   # settles it by experiment"
        )
    if done.folder:
        _line("folder", str(done.folder))
    if original.root != Path.cwd():
        _line("store", f"runback ls --store {shlex.quote(str(original.root))}")


def show_plan(plan: Plan, as_json: bool) -> int:
    """Print what would be done."""
    if as_json:
        print_json(_plan_object(plan))
        return 0
    original = plan.original
    click.echo(printable(f"runback replay {original.run.short_id} {original.run.name} would"))
    _line("run", shlex.join(plan.words))
    _line("in", str(plan.folder))
    _line("code", words.plural(len(original.code.files), "file"))
    made = "" if plan.environment.is_ready else "; it has to be made first"
    _line("environment", plan.environment.said + made)
    for name in plan.data:
        place = "fetched with dvc pull" if name in plan.fetched else plan.data[name]
        _line("data", f"{name}: {place}")
    for text in original.damaged:
        _line("record", text)
    drifts = _telling(plan.drifts)
    _show_drifts(drifts)
    if not any(not drift.restored for drift in drifts):
        _line("drift", "none: everything that was looked at is as recorded")
    if plan.why_not:
        _line("bits", f"cannot agree here: {plan.why_not}")
    return 0


def show_not_comparable(plan: Plan, as_json: bool, quiet: bool) -> None:
    """Print that nothing was run, because bits cannot agree here."""
    original = plan.original
    if as_json:
        print_json({**_plan_object(plan), "verdict": "not comparable", "why": plan.why_not})
    elif quiet:
        click.echo("not comparable")
    else:
        _headline("not comparable", f"{original.run.short_id} {original.run.name}; nothing was run")
        _line("why", plan.why_not)
        again = f"runback replay {original.run.short_id} --tolerance 1e-4"
        _line("next", f"{again}   # compares numbers; docs/determinism.md: portable trainings")


def show_all(outcomes: Sequence[Outcome], as_json: bool, quiet: bool) -> None:
    """Print a table: a run and its verdict on each line."""
    if as_json:
        print_json([_outcome_object(outcome) for outcome in outcomes])
        return
    good = sum(outcome.is_good for outcome in outcomes)
    if not quiet:
        show_table(
            [
                Column("RUN", [_id(outcome.run.id) for outcome in outcomes]),
                Column("NAME", [outcome.run.name for outcome in outcomes], rank=2),
                Column("VERDICT", [outcome.verdict for outcome in outcomes]),
                Column("REPLAY", [_id(outcome.replayed) for outcome in outcomes], rank=3),
                Column("TOOK", [_took(outcome) for outcome in outcomes], rank=4),
                Column("WHY", [outcome.why for outcome in outcomes], rank=1, widest=80),
            ]
        )
    click.echo(f"{good} of {len(outcomes)} identical")


def _telling(drifts: Sequence[Drift], is_same: bool = False) -> list[Drift]:
    """Return the drifts that say something, to someone who looks at the screen.

    Not what was added to the project since, which the recorded code does not see; nor a
    hash seed that Python drew anew, where nothing hung on it.
    """
    return [
        drift
        for drift in drifts
        if not (drift.restored and drift.recorded is None) and not (is_same and drift.kind == SEED)
    ]


def _show_drifts(drifts: Sequence[Drift]) -> None:
    """Print what is otherwise now; what the replay does not see of it in a line for each kind."""
    live = [drift for drift in drifts if not drift.restored]
    for drift in live[:_MOST]:
        _line("drift", findings.drift(drift))
    if len(live) > _MOST:
        _line("drift", f"and {len(live) - _MOST} more (--json has all)")
    for kind in dict.fromkeys(drift.kind for drift in drifts if drift.restored):
        names = [drift.name for drift in drifts if drift.restored and drift.kind == kind]
        _line("as recorded", f"{kind}: {findings.some(names)} (otherwise here now)")


def _show_causes(done: Replay) -> None:
    for place, cause in enumerate(done.causes[:3], start=1):
        _line(f"cause {place}", cause.why)


def _show_explanation(told: Explanation) -> None:
    for trial in told.trials:
        without = f" without {trial.without}" if trial.without else ""
        _line("again", f"{trial.verdict}{without} ({trial.run_id[:8]})")
    if told.divergence:
        _line("two replays", f"part first {findings.divergence(told.divergence)}")
    for suspect in told.suspects[:_MOST]:
        _line("suspect", f"{suspect.path}:{suspect.line} {suspect.text}")
    _line("settled", told.settled or "no: what has changed outside is not in the record")


def _headline(verdict: str, text: str) -> None:
    if not is_terminal():
        click.echo(printable(f"{verdict}  {text}"))
        return
    from rich.console import Console
    from rich.text import Text

    style = f"bold {STYLES.get(verdict, 'yellow')}"
    Console(highlight=False).print(Text.assemble((verdict, style), "  ", printable(text)))


def _line(name: str, text: str) -> None:
    click.echo(f"  {name:<12} {flat(text)}")


def _id(run_id: str) -> str:
    return run_id[:8] if is_terminal() else run_id


def _took(outcome: Outcome) -> str:
    return "" if outcome.training_s is None else words.duration(outcome.training_s)


def _outcome_object(outcome: Outcome) -> dict[str, Any]:
    return {
        **{"run_id": outcome.run.id, "name": outcome.run.name, "verdict": outcome.verdict},
        **{"why": outcome.why, "replay_run_id": outcome.replayed or None},
        "training_s": outcome.training_s,
    }


def _plan_object(plan: Plan) -> dict[str, Any]:
    return {
        "run_id": plan.original.id,
        "command": plan.words,
        "folder": str(plan.folder),
        "environment": {
            **{"kind": plan.environment.kind, "said": plan.environment.said},
            **{"python": plan.environment.python, "is_ready": plan.environment.is_ready},
        },
        "data": {name: str(path) for name, path in plan.data.items()},
        "drifts": [asdict(drift) for drift in plan.drifts],
        "damaged": plan.original.damaged,
        "comparable": not plan.why_not,
        "why_not": plan.why_not,
    }
