"""runback ls: which runs there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from runback.cli import table, words
from runback.cli.shared import (
    RUN,
    is_terminal,
    json_option,
    print_json,
    quiet_option,
    store_option,
)
from runback.cli.table import Column
from runback.runs.listing import Wish, differing, metric_names, select
from runback.store.listing import ACTIVE, DELETED
from runback.store.tags import REPLAY_OF_TAG, VERDICT_TAG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from runback.runs.filters import Filter
    from runback.runs.listing import Selection
    from runback.runs.run import Run

ON_A_SCREEN = 50
LONGEST_NAME = 24


@click.command()
@click.argument("runs", nargs=-1, type=RUN, metavar="[RUN]...")
@store_option
@click.option("--filter", "-f", "filters", multiple=True, metavar="CONDITION", help="As below.")
@click.option(
    "--sort", "-s", metavar="NAME", help="By a field, metric or param.  [default: newest]"
)
@click.option("--reverse", "-r", is_flag=True, help="Sort from the largest down.")
@click.option("--limit", "-n", type=click.IntRange(1), help="So many.  [default: 50 on a terminal]")
@click.option("--experiment", "-e", metavar="NAME", help="Only the runs of this experiment.")
@click.option("--all", "-a", "everything", is_flag=True, help="All runs, all params and metrics.")
@click.option("--no-replays", is_flag=True, help="Leave out the runs that replays made.")
@click.option("--deleted", is_flag=True, help="The deleted runs instead.")
@json_option
@quiet_option("Print full ids only.")
def ls(
    runs: Sequence[str],
    store: Path,
    filters: Sequence[str],
    sort: str | None,
    reverse: bool,
    limit: int | None,
    experiment: str | None,
    everything: bool,
    no_replays: bool,
    deleted: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """List the runs

    Newest first, with the params that differ between them, their latest metrics, and the
    best value of the primary metric if a training named one. On a terminal, as many
    columns as have room; piped, lines with tabs, full ids and full precision.

    \b
    A CONDITION is NAME, one of = != < <= > >=, and a value; several must all hold:
      runback ls -f "val_accuracy > 0.9" -f "optimizer = adam" -f "started > 2d"
    NAME: a metric (its latest value), a param, or one of id name experiment status user
    started ended duration_s best; params.NAME, metrics.NAME and tags.NAME say which.
    RUN: only these runs, named as elsewhere, by DVC experiments' names too.
    """
    if limit is None and is_terminal() and not (everything or as_json or quiet):
        limit = ON_A_SCREEN
    stages = (DELETED,) if deleted else (ACTIVE,)
    ids = _ids(store.absolute(), runs)
    wish = Wish(_conditions(filters), sort, reverse, limit, experiment, stages, ids, not no_replays)
    found = select(store.absolute(), wish)
    if quiet:
        click.echo("".join(f"{run.id}\n" for run in found.runs), nl=False)
    elif as_json:
        print_json([as_object(run) for run in found.runs])
    else:
        is_selection = bool(filters or no_replays or deleted or experiment or runs)
        wanted = {condition.name for condition in wish.filters} | {sort or ""}
        _show(found, everything, is_selection, wanted)
    return 0


def _ids(root: Path, names: Sequence[str]) -> frozenset[str] | None:
    if not names:
        return None
    from runback.store.find import find_id

    return frozenset(find_id(root, name) for name in names)


def _conditions(texts: Sequence[str]) -> list[Filter]:
    if not texts:
        return []
    from runback.runs.filters import parse

    return [parse(text) for text in texts]


def _show(found: Selection, everything: bool, is_selection: bool, wanted: Collection[str]) -> None:
    if not found.runs and is_terminal():
        click.echo("no such runs" if is_selection else "no runs yet")
        return
    shown = columns(found.runs, everything, wanted)
    table.show(shown, lambda names: table.dim(f"no room for: {names}"))
    if found.hidden:
        table.dim(f"and {words.plural(found.hidden, 'more run')}: --limit, --all")


def columns(
    runs: Sequence[Run], everything: bool = False, wanted: Collection[str] = ()
) -> list[Column]:
    """Return what is shown of the runs; ranks are those of a narrow terminal.

    wanted: params and metrics that are shown in any case.
    """
    on_screen = is_terminal()
    heads = [
        Column("RUN", [run.short_id if on_screen else run.id for run in runs]),
        Column("NAME", [run.name for run in runs], 1, widest=LONGEST_NAME),
        Column("EXPERIMENT", [run.experiment for run in runs], 7),
        Column("STARTED", [_time(run.listed.started_ms, on_screen) for run in runs], 6),
        Column("STATUS", [run.status for run in runs], 3),
    ]
    if on_screen and len(set(heads[2].cells)) < 2:
        del heads[2]
    every = sorted({name for run in runs for name in run.params})
    params = every if everything else differing(runs)
    params += [name for name in every if name in wanted and name not in params]
    found = [*heads, *_params(runs, params), *_metrics(runs)]
    found = [replace(c, rank=0) if c.name in wanted else c for c in found]
    if any(run.best for run in runs):
        found.append(_bests(runs, on_screen))
    if any(VERDICT_TAG in run.tags for run in runs):
        found.append(Column("VERDICT", [_verdict(run) for run in runs], 4))
    return found


def _verdict(run: Run) -> str:
    """Return what a replay of the run found; of a replay, which run it is one of."""
    original = run.tags.get(REPLAY_OF_TAG, "")
    return run.tags.get(VERDICT_TAG) or (f"of {original[:8]}" if original else "")


def _params(runs: Sequence[Run], names: Sequence[str]) -> Iterator[Column]:
    params = [run.params for run in runs]
    for i, name in enumerate(names):
        yield Column(name, [values.get(name, "") for values in params], 10 + 2 * i)


def _metrics(runs: Sequence[Run]) -> Iterator[Column]:
    number = words.short if is_terminal() else repr
    latest = [run.latest for run in runs]
    for i, name in enumerate(metric_names(runs)):
        found = [values.get(name) for values in latest]
        cells = ["" if value is None else number(value) for value in found]
        yield Column(name, cells, 9 + 2 * i, is_number=True)


def _bests(runs: Sequence[Run], on_screen: bool) -> Column:
    """Return the best value and its step; on a screen the metric is in the head if it is one."""
    metrics = {run.best.metric for run in runs if run.best}
    head = f"BEST {next(iter(metrics))}" if on_screen and len(metrics) == 1 else "BEST"
    number = words.short if on_screen else repr
    cells = [f"{b.metric} {number(b.value)} @{b.step}" if b else "" for b in (r.best for r in runs)]
    if head != "BEST":
        cells = [cell.removeprefix(head.removeprefix("BEST ")).lstrip() for cell in cells]
    return Column(head, cells, 2)


def _time(ms: int | None, on_screen: bool) -> str:
    return words.ago(ms) if on_screen else words.iso(ms) or ""


def as_object(run: Run) -> dict[str, Any]:
    """Return what --json prints of a run."""
    best = run.best
    return {
        "run_id": run.id,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.status,
        "started": words.iso(run.listed.started_ms),
        "ended": words.iso(run.listed.ended_ms),
        "duration_s": run.duration_s,
        "user": run.listed.user,
        "deleted": run.is_deleted,
        "params": run.params,
        "metrics": run.latest,
        "best": {"metric": best.metric, "value": best.value, "step": best.step} if best else None,
        "verdict": run.tags.get(VERDICT_TAG),
    }
