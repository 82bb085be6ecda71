"""runback replay: run a past run again from its record, and say whether it came out the same."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runback.cli import verdict
from runback.cli.shared import (
    RUN,
    json_option,
    own_store,
    print_json,
    quiet_option,
    store_option,
)
from runback.errors import RunbackError
from runback.frozen.source import is_frozen
from runback.store.find import find_id
from runback.terminal import report, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.replay.environment import Surroundings
    from runback.replay.plan import Plan, Wish

ENVIRONMENTS = ("auto", "here", "lock", "image")


class Pair(click.ParamType[tuple[str, str]]):
    """A name and a value: NAME=VALUE."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return name and value; a path alone is both."""
        if isinstance(value, tuple):
            return value
        name, equals, rest = str(value).partition("=")
        if not name or not equals:
            self.fail(f'"{value}" is not NAME=VALUE', param, ctx)
        return name, rest


@click.command()
@click.argument("run", type=RUN, required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what has changed since.")
@click.option("--explain", is_flag=True, help="If different: replay again to find the cause.")
@click.option(
    "--tolerance", type=click.FloatRange(0, min_open=True), help="Numbers this near agree."
)
@click.option(
    "--ignore", multiple=True, metavar="GLOB", help="Metrics, params, artifacts to leave out."
)
@click.option(
    "--from-step", type=click.IntRange(0), metavar="STEP", help="Begin at its checkpoint."
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="End it then."
)
@click.option("--set", "settings", type=Pair(), multiple=True, help="Change a variable on purpose.")
@click.option(
    "--data", type=Pair(), multiple=True, metavar="NAME=PATH", help="Where recorded data lies now."
)
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    default="auto",
    help="The recorded image, one made from its lock, or this one.  [default: auto]",
)
@click.option("--keep", is_flag=True, help="Keep the folder of a replay that is identical.")
@click.option("--all", "everything", is_flag=True, help="All FINISHED runs, one after the other.")
@click.option("--experiment", "-e", metavar="NAME", help="With --all: those of this experiment.")
@store_option
@json_option
@quiet_option("Print the verdict alone.")
def replay(
    run: str | None,
    dry_run: bool,
    explain: bool,
    everything: bool,
    experiment: str | None,
    store: Path,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Run a run again from its record, and compare

    RUN: an id, its beginning, a name, @latest or @best; or what `runback freeze` wrote.

    The recorded code is laid out in a folder of its own, in the recorded environment, with
    the recorded command, variables, threads and seeds; data and machine are compared with
    the record first. The training's output goes to stderr. The new run is recorded like any
    other, and compared to the bit: params, every metric point, weights, checkpoints,
    artifacts. The exit status is the verdict: 0 identical (or within an asked tolerance),
    1 not, 2 wrong usage, 3 it could not be done.

    \b
      runback replay @latest
      runback replay @latest --dry-run
      runback replay d70033e4 --explain
      runback replay --all --experiment digits --timeout 3600

    The original is never changed, but for its tag runback.verdict. This runs the code of the
    record: for one that came from another machine, that is said first.
    """
    if bool(run) == everything:
        raise click.UsageError("say which run: RUN, or --all")
    if experiment and not everything:
        raise click.UsageError("--experiment goes with --all")
    if everything and (dry_run or explain):
        raise click.UsageError("--all has no --dry-run and no --explain: those are of one run")
    root = store.absolute()
    wish = _wish(options)
    if everything:
        return _replay_all(own_store(str(store)).absolute(), experiment, wish, as_json, quiet)
    if is_frozen(run or ""):
        planned = _plan_frozen(Path(run or "").absolute(), root, wish, dry_run)
    else:
        run_id = _original_of(root, find_id(root, run or ""))
        planned = _plan(_own(root, run_id), run_id, wish)
    if dry_run:
        return verdict.show_plan(planned, as_json)
    return _replay_one(planned, explain, as_json, quiet)


def _original_of(root: Path, run_id: str) -> str:
    """Return the run that this one is a replay of, if it is one: @latest after a replay."""
    from runback.runs.run import read
    from runback.store.tags import REPLAY_OF_TAG

    original = read(root, [run_id])[0].tags.get(REPLAY_OF_TAG, "")
    if original and read(root, [original]):
        say(f"{run_id[:8]} is a replay of {original[:8]}, which is replayed")
        return original
    return run_id


def _own(root: Path, run_id: str) -> Path:
    """Return the store to replay in; a run of a server's mirror is fetched into this folder's."""
    from runback.remote import cache

    if not cache.is_mirror(root):
        return root
    from runback.replay.fetched import fetch

    fetch(root, run_id, Path.cwd(), say)
    return Path.cwd()


def _wish(options: dict[str, Any]) -> Wish:
    from runback.replay.plan import Wish

    for name, path in options["data"]:
        if not path or not Path(path).exists():
            raise click.UsageError(f"--data {name}={path}: there is nothing at {path!r}")
    if options["tolerance"] is not None and not math.isfinite(options["tolerance"]):
        raise click.UsageError("--tolerance is a number, as 1e-6")
    return Wish(
        tolerance=options["tolerance"],
        ignore=options["ignore"],
        from_step=options["from_step"],
        timeout_s=options["timeout"],
        settings=dict(options["settings"]),
        data={name: Path(path).absolute() for name, path in options["data"]},
        environment=options["environment"],
        keep=options["keep"],
    )


def _plan_frozen(path: Path, root: Path, wish: Wish, dry_run: bool) -> Plan:
    from runback.frozen.replay import planned

    return planned(path, root, wish, _surroundings(), os.environ, say, is_dry=dry_run)


def _plan(root: Path, run_id: str, wish: Wish) -> Plan:
    from runback.replay.plan import plan

    return plan(root, run_id, wish, _surroundings(), os.environ)


def _surroundings() -> Surroundings:
    from runback.replay.environment import Surroundings

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Surroundings(
        path=os.environ.get("PATH"),
        cache=cache / "runback",
        engine=os.environ.get("RUNBACK_ENGINE") or "auto",
        image_id=os.environ.get("RUNBACK_IMAGE_ID", ""),
        build_args=tuple(shlex.split(os.environ.get("RUNBACK_BUILD_ARGS", ""))),
        engine_args=tuple(shlex.split(os.environ.get("RUNBACK_ENGINE_ARGS", ""))),
    )


def _replay_one(planned: Plan, explain: bool, as_json: bool, quiet: bool) -> int:
    from runback.replay.explain import explained
    from runback.replay.judge import as_object
    from runback.replay.replay import replay
    from runback.replay.verdict import DIFFERS, IDENTICAL, NOT_COMPARABLE, WITHIN_TOLERANCE

    original = planned.original
    if not original.is_own:
        say(f"this record came from {original.manifest['store']}: its code is run now")
    if planned.why_not and planned.wish.tolerance is None:
        verdict.show_not_comparable(planned, as_json, quiet)
        return 1
    done = replay(planned, say)
    told = explained(done, say) if explain and done.verdict == DIFFERS else None
    if as_json:
        print_json({**as_object(done), "explained": told and told.as_object()})
    elif quiet:
        click.echo(done.verdict)
    else:
        verdict.show(done, told)
    assert done.verdict in (IDENTICAL, WITHIN_TOLERANCE, DIFFERS, NOT_COMPARABLE)
    return 0 if done.verdict in (IDENTICAL, WITHIN_TOLERANCE) else 1


def _replay_all(root: Path, experiment: str | None, wish: Wish, as_json: bool, quiet: bool) -> int:
    from runback.replay.replay import replay
    from runback.replay.several import Outcome, candidates

    outcomes: list[Outcome] = []
    for run in candidates(root, experiment):
        try:
            planned = _plan(root, run.id, wish)
            done = None if planned.why_not and wish.tolerance is None else replay(planned, say)
            outcomes.append(Outcome.of(run, planned, done))
        except RunbackError as error:
            if error.exit_status == 130:
                raise
            report(error)
            outcomes.append(Outcome(run, "error", str(error).split("\n")[0], error=True))
    verdict.show_all(outcomes, as_json, quiet)
    return _status(outcomes)


def _status(outcomes: Sequence[Any]) -> int:
    if any(outcome.error for outcome in outcomes):
        return 3
    return 0 if all(outcome.is_good for outcome in outcomes) else 1
