"""runback freeze: everything that a replay of a run needs, in one archive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runback import __version__
from runback.cli.shared import (
    RUN,
    json_option,
    own_store_option,
    print_json,
    quiet_option,
    show_first,
)
from runback.cli.table import flat
from runback.cli.words import plural, size
from runback.frozen.contents import BESIDE, DATA, IMAGE, MLRUNS, WHEELS
from runback.frozen.freeze import Frozen, Wish
from runback.store.find import find_id
from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command()
@click.argument("run", type=RUN)
@click.option(
    "--to", type=click.Path(path_type=Path), help="The archive (NAME.tar) or folder to make."
)
@click.option("--image/--no-image", default=None, help="The image that it was run in.")
@click.option("--wheels/--no-wheels", default=None, help="The packages of its lock.")
@click.option("--data/--no-data", default=True, help="Its declared data, or its digests alone.")
@own_store_option
@json_option
@quiet_option("Print the path alone.")
def freeze(
    run: str,
    to: Path | None,
    image: bool | None,
    wheels: bool | None,
    data: bool,
    store: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Keep everything that a replay of a run needs

    RUN: an id, its beginning, a name, @latest or @best.

    Record, artifacts, checkpoints, declared data, and the environment: the image that it was
    run in, or, where there is none, the wheels of its lock. The archive is frozen/NAME-ID.tar
    beside mlruns/, or what --to names. It appears whole, every file compared with its digest;
    what could not be had is named.

    \b
      runback freeze @latest
      runback freeze d70033e4 --to /mnt/archive/paper.tar
      runback replay /mnt/archive/paper.tar
    """
    from runback.frozen import freeze as verb

    root = store.absolute()
    wish = Wish(to, image, wheels, data)
    choice = os.environ.get("RUNBACK_ENGINE") or "auto"
    done = verb.freeze(root, find_id(root, run), wish, choice, __version__, say)
    if as_json:
        print_json({"path": str(done.path), **done.contents.as_object()})
    elif quiet:
        click.echo(flat(_shown(done.path)))
    else:
        _show(done)
    return 0


def _show(done: Frozen) -> None:
    click.echo(flat(_shown(done.path)))
    for row in _rows(done):
        click.echo(f"  {flat(row)}")
    left_out = [f"{what}: {why}" for what, why in done.contents.left_out.items()]
    show_first("not in it", left_out, " (--json lists all)", err=True)


def _rows(done: Frozen) -> Iterator[str]:
    """Yield a line for each kind of thing that is in it."""
    contents = done.contents
    yield f"record, artifacts, checkpoints: {_sum(done, MLRUNS)}"
    if contents.below(BESIDE):
        yield f"code that no snapshot has: {_sum(done, BESIDE)}"
    inside = [name for name, about in contents.data.items() if "at" in about]
    if inside:
        yield f"data: {_sum(done, DATA)} ({', '.join(inside)})"
    if contents.image:
        yield f"image {contents.image[:19]}: {size(contents.size_bytes(IMAGE))}"
    if contents.below(WHEELS):
        yield f"wheels of the lock: {_sum(done, WHEELS)}"


def _sum(done: Frozen, place: str) -> str:
    names = done.contents.below(place)
    return f"{plural(len(names), 'file')}, {size(done.contents.size_bytes(place))}"


def _shown(path: Path) -> str:
    """Return a path as it can be typed here."""
    here = Path(os.path.normpath(path))
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
