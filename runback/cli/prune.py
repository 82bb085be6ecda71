"""runback prune: keep the checkpoints that count, free the disk of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runback.cli import words
from runback.cli.rm import waiting
from runback.cli.shared import RUN, json_option, own_store_option, print_json, quiet_option
from runback.runs import prune as verb
from runback.runs.listing import Wish, select
from runback.runs.prune import Keep
from runback.store.errors import NotRemoved
from runback.store.find import find_id
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runback.runs.prune import Pruned
    from runback.store.models import Model


@click.command()
@click.argument("runs", nargs=-1, type=RUN)
@own_store_option
@click.option("--keep-best", type=click.IntRange(1), metavar="N", help="So many of the best stay.")
@click.option("--keep-last", type=click.IntRange(1), metavar="N", help="So many of the last stay.")
@click.option("--experiment", "-e", metavar="NAME", help="All runs of this experiment.")
@click.option("--all", "-a", "everything", is_flag=True, help="All runs.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, and say what would go.")
@json_option
@quiet_option("Print nothing.")
def prune(
    runs: Sequence[str],
    store: Path,
    keep_best: int | None,
    keep_last: int | None,
    experiment: str | None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Remove checkpoints but the best and the last, and free the disk

    The best by the run's primary metric (NaN is never best), the last by step; what
    either option keeps stays. Runs, metrics and all else stay too. Checkpoints are those
    of runback's checkpoint(); models that were logged otherwise, or are registered, stay.
    A run that goes on may be pruned.

    Files go from this machine. On others the checkpoints are no longer listed if this
    machine recorded the run; prune there removes their copies.
    """
    if keep_best is None and keep_last is None:
        raise click.UsageError("say what stays: --keep-best N, --keep-last N, or both")
    if bool(runs) + bool(experiment) + everything != 1:
        raise click.UsageError("say of which runs: RUN…, --experiment NAME, or --all")
    root, keep = store.absolute(), Keep(keep_best, keep_last)
    run_ids = _runs(root, runs, experiment)
    if dry_run:
        found = verb.plan(root, run_ids, keep)
        freed, stuck = verb.freed_bytes(root, found), dict[str, str]()
    else:
        found, freed, stuck = verb.prune(root, run_ids, keep, waiting)
    if as_json:
        print_json(_object(found, freed, dry_run))
    elif not quiet:
        _show(found, freed, dry_run)
    if stuck:
        raise NotRemoved(stuck)
    return 0


def _runs(root: Path, runs: Sequence[str], experiment: str | None) -> list[str]:
    if runs:
        return list(dict.fromkeys(find_id(root, text) for text in runs))
    return [run.id for run in select(root, Wish(experiment=experiment)).runs]


def _show(found: Sequence[Pruned], freed: int, dry_run: bool) -> None:
    for one in found:
        for model in one.gone:
            click.echo(printable(f"{one.run.short_id}  {_worded(one, model)}"))
        if one.left:
            copies = words.plural(len(one.left), "checkpoint")
            click.echo(f"{one.run.short_id}  files of {copies} that had been removed before")
        if one.no_metric and one.kept:
            click.echo(
                f"{one.run.short_id}  names no primary metric: nothing is the best, all stays"
            )
    gone, kept = sum(len(one.gone) for one in found), sum(len(one.kept) for one in found)
    would = "would be removed" if dry_run else "removed"
    click.echo(
        f"{words.plural(gone, 'checkpoint')} {would},"
        f" {words.size(freed)} {'to be ' if dry_run else ''}freed; {kept:,} kept"
    )


def _worded(one: Pruned, model: Model) -> str:
    step = "no step" if model.step is None else f"step {model.step}"
    primary = one.run.primary_metric
    if primary is None or primary.name not in model.metrics:
        return step
    return f"{step}  {primary.name} {words.short(model.metrics[primary.name])}"


def _object(found: Sequence[Pruned], freed: int, dry_run: bool) -> dict[str, Any]:
    return {
        "runs": [
            {
                "run_id": one.run.id,
                "removed": [_model(model) for model in one.gone],
                "kept": [_model(model) for model in one.kept],
                "copies_removed": sorted(one.left),
                "has_primary_metric": not one.no_metric,
            }
            for one in found
        ],
        "freed_bytes": freed,
        "dry_run": dry_run,
    }


def _model(model: Model) -> dict[str, Any]:
    return {"model_id": model.model_id, "step": model.step, "metrics": model.metrics}
