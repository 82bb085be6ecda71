"""runback checkout: a run's code and a checkpoint, in a folder of its own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runback.cli.shared import RUN, json_option, print_json, quiet_option, show_first, store_option
from runback.cli.table import flat
from runback.runs import checkout as verb
from runback.runs.stored import BEST, LATEST
from runback.store.find import find_id
from runback.terminal import printable, say

if TYPE_CHECKING:
    from runback.runs.checkout import Checkout


class Which(click.ParamType[str]):
    """Which checkpoint: a step, the best or the latest."""

    name = "step|best|latest"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or the step as digits."""
        if value in (BEST, LATEST):
            return value
        try:
            return str(int(value))
        except ValueError:
            self.fail(f'"{value}" is no step, and neither best nor latest', param, ctx)


@click.command()
@click.argument("run", type=RUN)
@click.argument("path", nargs=-1)
@click.option(
    "--checkpoint",
    type=Which(),
    metavar="STEP|best|latest",
    help="Which one, if the run has several.",
)
@click.option("--only", type=click.Choice([verb.CODE, verb.CHECKPOINT]), help="Not the other.")
@click.option("--to", type=click.Path(path_type=Path), help="The folder to make.")
@click.option("--overwrite", is_flag=True, help="Replace files of a folder that is there.")
@store_option
@json_option
@quiet_option("Print the folder alone.")
def checkout(
    run: str,
    path: tuple[str, ...],
    checkpoint: str | None,
    only: str | None,
    to: Path | None,
    overwrite: bool,
    store: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Put a run's code and checkpoint into a new folder

    RUN: an id, its beginning, a name, @latest or @best. PATH: only these files and folders.

    The folder is checkouts/NAME-ID beside mlruns/ (of a server's run, here), which git and
    later snapshots leave out.
    Without --checkpoint: the best by the run's primary metric, or else the latest, if there
    is one. Everything is compared with the digests that the run recorded; where one is wrong,
    nothing is written. The folder appears whole. Nothing that is there is overwritten, unless
    --overwrite says so: then each file is replaced whole, and the others stay.
    """
    if only == verb.CODE and checkpoint:
        raise click.UsageError("--only code has no --checkpoint")
    root = store.absolute()
    wish = verb.Wish(checkpoint, only, to, path, overwrite)
    done = verb.checkout(root, find_id(root, run), wish)
    if as_json:
        print_json(_plain(done))
    elif quiet:
        click.echo(flat(_shown(done.folder)))
    else:
        _show(done)
    return 0


def _plain(done: Checkout) -> dict[str, Any]:
    kept = done.checkpoint
    model = kept.model if kept else None
    return {
        "run_id": done.run.id,
        "folder": str(done.folder),
        "code": done.code,
        "checkpoint": model
        and {
            **{"model_id": model.model_id, "name": model.name, "step": model.step},
            "path": done.checkpoint_at,
        },
        "left_out": done.left_out,
        "skipped": done.skipped,
        "replaced": done.replaced,
        "command": done.command,
    }


def _show(done: Checkout) -> None:
    click.echo(flat(_shown(done.folder)))
    if done.code:
        count = "1 file" if len(done.code) == 1 else f"{len(done.code)} files"
        click.echo(f"  code: {count}")
    if done.checkpoint:
        step = done.checkpoint.model.step
        of = "" if step is None else f" of step {step}"
        instead = " (the code had one of that name)" if done.replaced else ""
        click.echo(f"  checkpoint{of}: {flat(done.checkpoint_at)}{instead}")
    if command := _command(done):
        click.echo(f"  it was run by: {flat(command)}")
    if done.skipped:
        say(f"without its checkpoint: {printable(done.skipped)}")
    if done.code:
        rows = [f"{name} ({why})" for name, why in sorted(done.left_out.items())]
        show_first("not in the snapshot", rows, " (--json lists all)", err=True)


def _command(done: Checkout) -> str:
    """Return what can be pasted to run it again; "" if that is not known."""
    argv, place = done.command.get("argv"), done.command.get("working_directory")
    if not isinstance(argv, list) or not argv:
        return ""
    folder = done.folder / place if isinstance(place, str) else done.folder
    return f"cd {shlex.quote(_shown(folder))} && {shlex.join(map(str, argv))}"


def _shown(folder: Path) -> str:
    """Return a folder as it can be typed here."""
    here = Path(os.path.normpath(folder))
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
