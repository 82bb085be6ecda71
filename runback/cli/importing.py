"""runback import: take in what another tool recorded."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from runback.cli.index import Bar
from runback.cli.shared import json_option, own_store_option, print_json, quiet_option, show_first
from runback.keepsake import repository as repositories
from runback.keepsake.importer import import_all
from runback.keepsake.report import Report
from runback.store.index import index
from runback.terminal import say

NOTHING_WRITTEN = "Write nothing, unpack nothing, and say what would be done."


@click.group("import", context_settings={"help_option_names": ["-h", "--help"]})
def import_() -> None:
    """Take in what another tool recorded"""


@import_.command()
@click.argument("repository", required=False)
@own_store_option
@click.option(
    "--experiment",
    default="keepsake",
    show_default=True,
    metavar="NAME",
    help="MLflow's experiment that the runs are put in.",
)
@click.option("--dry-run", is_flag=True, help=NOTHING_WRITTEN)
@json_option
@quiet_option("Print only what is wrong.")
def keepsake(
    repository: str | None, store: Path, experiment: str, dry_run: bool, as_json: bool, quiet: bool
) -> int:
    """Import the experiments of a Keepsake repository

    REPOSITORY: its folder or file:// address, or a project's folder; without it, what
    keepsake.yaml says, here or above, or .keepsake/. Each experiment becomes a run with
    its record, each checkpoint with files a logged model; Keepsake's own JSON is kept
    beside them. The repository is only read. A run's id is the first half of the
    experiment's, so what is here already is not imported twice; what has grown since, or
    was damaged and is not any more, is completed.

    Exit status: 0, also when some of it is damaged: it is named. 3 if nothing can be read.
    """
    found = repositories.find(repository, Path.cwd())
    root = store.absolute()
    silent = quiet or as_json
    with Bar(silent or not sys.stderr.isatty()) as progress:
        say_it = (lambda message: None) if silent else say
        report = import_all(found, root, experiment, say_it, dry_run, progress)
        if not dry_run:
            # What could not be adopted is named like what could not be imported.
            wrong = index(root, say_it, progress=progress).wrong
            report.wrong.update(_ours(wrong, report))
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _show(report, dry_run, quiet)
    return 0


def _ours(wrong: dict[str, str], report: Report) -> dict[str, str]:
    runs = {*report.imported, *report.completed}
    return {path: reason for path, reason in wrong.items() if runs & set(Path(path).parts)}


def _show(report: Report, dry_run: bool, quiet: bool) -> None:
    if not quiet:
        click.echo(_summary(report, dry_run))
    lost = [f"{name} {reason}" for name, reason in report.without_files.items()]
    show_first("without files", lost, " (--json lists all)", err=True)
    show_first("running", [run_id[:7] for run_id in report.running], err=True)
    if report.running:
        say("they go on: the same command imports them when they have stopped for 30 s")
    if not quiet:
        show_first("kept in keepsake/experiment.json", report.notes, err=True)
    wrong = [f"{path}: {reason}" for path, reason in sorted(report.wrong.items())]
    show_first("wrong", wrong, " (--json lists all)", err=True)


def _summary(report: Report, dry_run: bool) -> str:
    """Return `12 experiments: 12 imported, 57 checkpoints; 1 without files`."""
    done = [
        f"{count} {word}"
        for count, word in (
            (len(report.imported), "imported"),
            (len(report.completed), "completed"),
            (len(report.running), "running"),
            (len(report.purged), "left out (removed for good here)"),
        )
        if count
    ]
    if report.imported or report.completed:
        done.append(_counted(report.checkpoints, "checkpoint"))
    lost = f"; {len(report.without_files)} without files" if report.without_files else ""
    would = "would be: " if dry_run else ""
    experiments = _counted(report.experiments, "experiment")
    return f"{experiments}: {would}{', '.join(done) or 'nothing new'}{lost}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
