"""runback index: make the store right after runs came or went."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from runback.cli.shared import own_store_option, show_first
from runback.store import index as verb
from runback.store.rebuild import rebuild as rebuild_store
from runback.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from runback.store.index import Progress
    from runback.store.report import Report


@click.command()
@own_store_option
@click.option("--rebuild", is_flag=True, help="Make mlflow.db anew from the runs' folders.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Print only what is wrong.")
def index(store: Path, rebuild: bool, dry_run: bool, as_json: bool, quiet: bool) -> int:
    """Bring the database and the runs' folders up to one another

    After an rsync of mlruns/, after a kill, after moving the project. Adopts runs that
    the database does not know, refreshes those that grew, notes what was renamed, tagged
    or deleted in the UI, and makes every stored location right. Takes in a store that
    plain MLflow made, old file stores too.

    Exit status: 0, also when records are damaged: they are named.
    """
    if rebuild and dry_run:
        raise click.UsageError("--rebuild has no --dry-run: it keeps the old database aside")
    root = store.absolute()
    silent = quiet or as_json or not sys.stderr.isatty()
    with Bar(silent) as progress:
        if rebuild:
            report = rebuild_store(root, _say(quiet), progress)
        else:
            report = verb.index(root, _say(quiet), dry_run, progress)
    if as_json:
        click.echo(json.dumps(_plain(report), indent=1))
        return 0
    show(report, dry_run, quiet)
    return 0


def _say(quiet: bool) -> verb.Say:
    return (lambda message: None) if quiet else say


def _plain(report: Report) -> dict[str, object]:
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in dataclasses.asdict(report).items()
    }


def show(report: Report, dry_run: bool = False, quiet: bool = False) -> None:
    """Print what an index did, and each thing that is wrong."""
    done = [
        f"{len(found)} {word}"
        for word, found in (
            ("adopted", report.adopted),
            ("refreshed", report.refreshed),
            ("recorded", report.completed),
            ("ended (their process is gone)", report.ended),
            ("edited here", [run for run in report.edited if run not in report.tied]),
            ("tied to the DVC experiment that made them", report.tied),
            (
                "locations made right" if len(report.moved) > 1 else "location made right",
                report.moved,
            ),
            ("left out (removed for good here)", report.purged),
        )
        if found
    ]
    if not quiet:
        would = "would be: " if dry_run else ""
        runs = "1 run" if report.runs == 1 else f"{report.runs} runs"
        click.echo(f"{runs}: {would}{', '.join(done) or 'nothing new'}")
    wrong = [f"{path}: {reason}" for path, reason in sorted(report.wrong.items())]
    show_first("wrong", wrong, " (--json lists all)", err=True)


class Bar:
    """A progress bar that appears when the work takes longer than a second."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent

    def __enter__(self) -> Progress:
        if self._silent:
            return verb.quiet
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[str, int] = {}
        return self._update

    def _update(self, step: str, done: int, total: int) -> None:
        if done == 0 and total > 200:
            self._bar.start()
            self._tasks[step] = self._bar.add_task(step, total=total)
        if step in self._tasks and done % 50 == 0:
            self._bar.update(self._tasks[step], completed=done)  # type: ignore[arg-type]

    def __exit__(self, *exception: object) -> None:
        if not self._silent:
            self._bar.stop()
