"""runback plot, runback scatter: runs as pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runback.cli import screen, table, words
from runback.cli.shared import (
    RUN,
    is_terminal,
    json_option,
    print_json,
    quiet_option,
    store_option,
)
from runback.cli.table import Column
from runback.runs import cloud, curves
from runback.runs.filters import parse
from runback.runs.listing import Wish, select
from runback.runs.run import read
from runback.store.find import find_id
from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.runs.cloud import Cloud
    from runback.runs.curves import Chart

output_option = click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a picture: .png, .pdf, .svg or .html.",
)


@click.command()
@click.argument("names", metavar="RUN...", type=RUN, nargs=-1, required=True)
@store_option
@click.option("--metric", "-m", "metrics", multiple=True, metavar="NAME", help="Which; repeatable.")
@click.option(
    "--x",
    type=click.Choice([curves.EPOCH, curves.TIME]),
    default=curves.EPOCH,
    show_default=True,
    help="The step that was logged, or the time since the run's start.",
)
@click.option("--log", "is_log", is_flag=True, help="Draw the values on a log scale.")
@output_option
@json_option
@quiet_option("Say nothing of what is left out, nor the file's name.")
def plot(
    names: Sequence[str],
    store: Path,
    metrics: Sequence[str],
    x: str,
    is_log: bool,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw learning curves of one or several runs

    In the terminal, or into a file. Without --metric: the primary metric, else a loss and
    a score, each with its twin (loss and val_loss share axes). NaN breaks a curve. Piped:
    all points as lines with tabs: run, metric, step, time, value.

    \b
      runback plot @latest
      runback plot @best 1a2b3c4d -m val_loss --log -o curves.png
    """
    _check(output)
    root = store.absolute()
    runs = read(root, list(dict.fromkeys(find_id(root, name) for name in names)))
    if output is None and (as_json or not is_terminal()):
        _print_points(runs, metrics, as_json)
        return 0
    chart = curves.read(runs, metrics, x, is_log)
    _say(chart.notes, quiet)
    if output is None:
        _print(screen.curves(chart, _screen()))
        return 0
    _save_curves(chart, output)
    _done(output, quiet)
    return 0


@click.command()
@store_option
@click.option("--param", "-p", required=True, metavar="NAME", help="The param, on the x axis.")
@click.option("--metric", "-m", required=True, metavar="NAME", help="The metric, on the y axis.")
@click.option("--experiment", "-e", metavar="NAME", help="Only the runs of this experiment.")
@click.option("--filter", "-f", "filters", multiple=True, metavar="CONDITION", help="As in ls.")
@click.option("--log-x", is_flag=True, help="Draw the param on a log scale.")
@output_option
@json_option
@quiet_option("Say nothing of what is left out, nor the file's name.")
def scatter(
    store: Path,
    param: str,
    metric: str,
    experiment: str | None,
    filters: Sequence[str],
    log_x: bool,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw a param of all runs against a metric

    A dot for each run that has both. Of the primary metric the best value, of others the
    latest. A param that is not a number everywhere makes categories. Piped: lines with
    tabs: run, name, param, metric.

    \b
      runback scatter -p learning_rate -m val_accuracy --log-x -o rates.svg
    """
    _check(output)
    wish = Wish([parse(text) for text in filters], experiment=experiment)
    found = cloud.read(select(store.absolute(), wish).runs, param, metric, log_x)
    _say(found.notes, quiet or as_json)
    if output is None and as_json:
        print_json([_as_object(found, dot) for dot in found.dots])
    elif output is None and is_terminal():
        _print(screen.scatter(found, _screen()))
    elif output is None:
        _print_dots(found)
    else:
        _save_cloud(found, output)
        _done(output, quiet)
    return 0


def _check(output: Path | None) -> None:
    if output is not None:
        from runback.runs import picture

        picture.check(output)


def _save_curves(chart: Chart, output: Path) -> None:
    from runback.runs import drawing, picture

    names = ", ".join(run.name or run.short_id for run in chart.runs[:3])
    more = f" and {len(chart.runs) - 3} more" if len(chart.runs) > 3 else ""
    picture.save(drawing.curves(chart), output, f"{names}{more}", chart.notes)


def _save_cloud(found: Cloud, output: Path) -> None:
    from runback.runs import drawing, picture

    title = f"{found.metric} by {found.param}"
    picture.save(drawing.scatter(found), output, title, found.notes)


def _print_points(runs: Sequence[Any], metrics: Sequence[str], as_json: bool) -> None:
    points = curves.points(runs, metrics)
    if as_json:
        print_json(
            [
                {"run_id": run.id, "metric": metric, "points": [_triple(p) for p in found]}
                for run, metric, found in points
            ]
        )
        return
    rows = [
        (run.id, metric, str(step), str(time), repr(value))
        for run, metric, found in points
        for step, time, value in map(_triple, found)
    ]
    _print_rows(("run", "metric", "step", "time", "value"), rows)


def _triple(point: Any) -> tuple[int, str | None, float]:
    from runback.record.metrics import number

    return point.step, words.iso(point.timestamp), number(point.value, point.is_nan)


def _print_dots(found: Cloud) -> None:
    rows = [(d.run.id, d.run.name, d.run.params[found.param], repr(d.y)) for d in found.dots]
    _print_rows(("run", "name", found.param, found.metric), rows)


def _print_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [[row[k] for row in rows] for k in range(len(head))]
    table.show([Column(name, column) for name, column in zip(head, cells, strict=True)])


def _as_object(found: Cloud, dot: cloud.Dot) -> dict[str, Any]:
    param = dot.run.params[found.param]
    return {"run_id": dot.run.id, "name": dot.run.name, "param": param, "metric": dot.y}


def _screen() -> screen.Screen:
    size = shutil.get_terminal_size()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return screen.Screen(size.columns, size.lines, not plain)


def _print(lines: Sequence[str]) -> None:
    click.echo("\n".join(lines), color=True)


def _say(notes: Sequence[str], quiet: bool) -> None:
    for note in () if quiet else notes:
        say(note)


def _done(output: Path, quiet: bool) -> None:
    if not quiet:
        click.echo(str(output))
