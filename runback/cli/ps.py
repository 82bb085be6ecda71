"""runback ps: what runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runback.cli import table, words
from runback.cli.shared import (
    is_terminal,
    json_option,
    own_store,
    print_json,
    quiet_option,
    store_option,
)
from runback.cli.table import Column
from runback.runs.running import Process, running
from runback.store.alive import Life

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WHERE = {Life.HERE: "", Life.AWAY: "as far as copied", Life.UNKNOWN: "not recorded: cannot tell"}


@click.command()
@store_option
@click.option("--fix", is_flag=True, help="End the runs whose process is gone, as KILLED.")
@json_option
@quiet_option("Print full ids only.")
def ps(store: Path, fix: bool, as_json: bool, quiet: bool) -> int:
    """List the runs that go on

    With their host and how far they are. A run whose process is gone (kill -9, out of
    memory, a reboot) is shown as LOST; --fix ends it as KILLED, at the last moment that
    is known of it, as `runback index` does. Of a run that another machine records, this
    shows what was copied.
    """
    root = store.absolute()
    if fix:
        _fix(own_store(str(root)), quiet or as_json)
    found = running(root)
    if quiet:
        click.echo("".join(f"{process.run.id}\n" for process in found), nl=False)
    elif as_json:
        print_json([_object(process) for process in found])
    elif not found and is_terminal():
        click.echo("nothing runs")
    else:
        table.show(_columns(found), lambda names: table.dim(f"no room for: {names}"))
    return 0


def _fix(root: Path, quiet: bool) -> None:
    from runback.store.index import index
    from runback.store.readable import readable

    with readable(root):
        pass  # an index would make a store where there is none
    ended = index(root, lambda message: None).ended
    if not quiet:
        for run_id in ended:
            click.echo(f"{run_id[:8]} ended as KILLED: its process is gone", err=True)


def _columns(found: Sequence[Process]) -> list[Column]:
    on_screen = is_terminal()
    started = [process.run.listed.started_ms for process in found]
    return [
        Column("RUN", [p.run.short_id if on_screen else p.run.id for p in found]),
        Column("NAME", [p.run.name for p in found], 2),
        Column("STATUS", [p.run.status for p in found], 1),
        Column("HOST", [p.host for p in found], 4),
        Column(
            "STARTED", [words.ago(ms) if on_screen else words.iso(ms) or "" for ms in started], 5
        ),
        Column("PROGRESS", [_progress(p) for p in found], 3),
        Column("LEFT", [_left(p) for p in found], 6),
    ]


def _progress(process: Process) -> str:
    done, total = process.progress.done, process.progress.total
    if done is None:
        return WHERE.get(process.life, "")
    return f"{done}/{total}" if total else f"step {done - 1}"


def _left(process: Process) -> str:
    left_s = process.progress.left_s
    return "" if left_s is None else words.duration(left_s)


def _object(process: Process) -> dict[str, Any]:
    return {
        "run_id": process.run.id,
        "name": process.run.name,
        "experiment": process.run.experiment,
        "status": process.run.status,
        "life": process.life.value,
        "host": process.host,
        "pid": process.pid,
        "started": words.iso(process.run.listed.started_ms),
        "epochs_done": process.progress.done,
        "epochs": process.progress.total,
        "elapsed_s": process.progress.elapsed_s,
        "left_s": process.progress.left_s,
    }
