"""runback rm and runback restore: delete runs, bring them back, or free the disk of them."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from runback.cli import words
from runback.cli.shared import (
    DELETED_RUN,
    RUN,
    json_option,
    own_store_option,
    print_json,
    quiet_option,
)
from runback.store import objects, remove
from runback.store.errors import NotRemoved
from runback.store.find import find_id
from runback.store.listing import ACTIVE, DELETED
from runback.store.readable import readable
from runback.terminal import printable, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runback.store.remove import Removed


@click.command()
@click.argument("runs", nargs=-1, required=True, type=RUN)
@own_store_option
@click.option("--purge", is_flag=True, help="Remove them for good, and free the disk.")
@click.option("--dry-run", is_flag=True, help="With --purge: show what it would free.")
@click.option("--force", is_flag=True, help="Also what may go on elsewhere, or is registered.")
@json_option
@quiet_option("Print nothing.")
def rm(
    runs: Sequence[str],
    store: Path,
    purge: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Delete runs; restore brings them back

    As in MLflow's UI: a deleted run is listed by `runback ls --deleted`, and its files
    stay. The next `runback index` notes it in the run's record, so that it is deleted on
    other machines too. All of the runs are deleted, or none.

    --purge removes runs for good, deleted before or not: their folders, models and rows,
    after saying how much that frees. It asks nothing, and there is no way back but a copy
    on another machine; a copy that comes here is not listed again.

    A run that a process here records is never deleted; one that is RUNNING elsewhere, as
    far as copied, with --force. Runs nested in another are left, and named.
    """
    root = store.absolute()
    if dry_run and not purge:
        raise click.UsageError("--dry-run goes with --purge: without it, restore undoes all")
    if purge and not dry_run:
        remove.finish(root, waiting)
    run_ids = _found(root, runs)
    if purge:
        return _purge(root, run_ids, force, dry_run, as_json, quiet)
    removed = remove.mark(root, run_ids, DELETED, force, waiting)
    if as_json:
        print_json([_object(run) for run in removed])
    elif not quiet:
        _show(removed, DELETED)
        click.echo(f"undo: runback restore {_again(store, removed)}")
    return 0


@click.command()
@click.argument("runs", nargs=-1, required=True, type=DELETED_RUN)
@own_store_option
@json_option
@quiet_option("Print nothing.")
def restore(runs: Sequence[str], store: Path, as_json: bool, quiet: bool) -> int:
    """Bring deleted runs back

    Those of `runback ls --deleted`, whoever deleted them. What was removed for good
    (rm --purge, mlflow gc) is not among them.
    """
    root = store.absolute()
    restored = remove.mark(root, _found(root, runs), ACTIVE, waiting=waiting)
    if as_json:
        print_json([_object(run) for run in restored])
    elif not quiet:
        _show(restored, ACTIVE)
    return 0


def waiting() -> None:
    """Say why nothing happens."""
    say("waits for `runback index`, which is at work here")


def _found(root: Path, runs: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(find_id(root, text) for text in runs))


def _purge(
    root: Path, run_ids: list[str], force: bool, dry_run: bool, as_json: bool, quiet: bool
) -> int:
    with readable(root) as connection:
        doomed = remove.doomed(connection, root, run_ids, force)
    freed = objects.freed_bytes(root, (f for run in doomed for f in run.folders.values()))
    if not (as_json or quiet):
        _show(doomed, "")
        click.echo(f"{'would free' if dry_run else 'frees'} {words.size(freed)}")
    if not dry_run:
        doomed, stuck = remove.purge(root, run_ids, force, waiting)
        if stuck:
            raise NotRemoved(stuck)
    if as_json:
        runs = [{**_object(run), "models": run.models} for run in doomed]
        print_json({"runs": runs, "freed_bytes": freed, "dry_run": dry_run})
    elif not (quiet or dry_run):
        click.echo(f"removed for good: {words.plural(len(doomed), 'run')}")
    return 0


def _show(runs: Sequence[Removed], stage: str) -> None:
    width = max(len(printable(run.name)) for run in runs)
    for run in runs:
        notes = [words.plural(run.models, "model")] if run.models else []
        notes += [f"was {stage} before"] if run.was == stage else []
        line = f"{run.run_id[:8]}  {printable(run.name):{width}}  {', '.join(notes)}"
        click.echo(line.rstrip())
    for run in runs:
        if run.nested and stage != ACTIVE:
            children = " ".join(child[:8] for child in run.nested)
            click.echo(f"nested in {run.run_id[:8]}, and left: {children}")
        for uri in run.elsewhere:
            click.echo(f"not removed: {printable(uri)}")


def _again(store: Path, runs: Sequence[Removed]) -> str:
    where = "" if str(store) == "." else f"--store {quote(str(store))} "
    return where + " ".join(run.run_id[:8] for run in runs)


def _object(run: Removed) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.name,
        "stage_before": run.was,
        "nested": run.nested,
        "elsewhere": run.elsewhere,
    }
