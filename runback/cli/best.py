"""runback best: the run with the best value of a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runback.cli import words
from runback.cli.ls import as_object
from runback.cli.shared import json_option, print_json, quiet_option, store_option
from runback.record.primary import MAXIMIZE, MINIMIZE
from runback.runs.winner import best as verb
from runback.terminal import printable

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--metric", "-m", required=True, metavar="NAME", help="Which metric counts.")
@click.option("--maximize", "goal", flag_value=MAXIMIZE, help="More is better.")
@click.option("--minimize", "goal", flag_value=MINIMIZE, help="Less is better.")
@click.option("--experiment", "-e", metavar="NAME", help="Only among the runs of this experiment.")
@store_option
@json_option
@quiet_option("Print the full id only.")
def best(
    metric: str, goal: str | None, experiment: str | None, store: Path, as_json: bool, quiet: bool
) -> int:
    """Find the run with the best value of a metric

    At whichever step it had it; NaN is never best. Without --maximize or --minimize, the
    goal is the one that the trainings gave (primary_metric), or that the name tells:
    less of a loss or error, more of an accuracy or score.

    \b
      runback checkout $(runback best -q --metric val_accuracy)
    """
    found = verb(store.absolute(), metric, goal, experiment)
    if quiet:
        click.echo(found.run.id)
    elif as_json:
        there = {"metric": metric, "goal": found.goal, "value": found.value, "step": found.step}
        print_json({"run": as_object(found.run), **there})
    else:
        value = words.short(found.value)
        line = f"{found.run.short_id}  {found.run.name}  {metric} {value} at step {found.step}"
        click.echo(printable(f"{line} ({found.goal[:3]}imum)"))
    return 0
