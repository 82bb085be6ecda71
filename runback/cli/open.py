"""runback open: list a run's files, print one, or hand it to another program."""

from __future__ import annotations

import codecs
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runback.cli.shared import (
    RUN,
    is_terminal,
    json_option,
    print_json,
    quiet_option,
    store_option,
)
from runback.cli.table import Column, flat, show
from runback.cli.words import size
from runback.errors import NoSuchRun
from runback.runs import artifacts
from runback.runs.errors import NoOpener
from runback.runs.run import read
from runback.store.find import find_id
from runback.terminal import printable

if TYPE_CHECKING:
    from runback.runs.artifacts import Artifact

BLOCK_BYTES = 1 << 16


@click.command("open")
@click.argument("run", type=RUN)
@click.argument("artifact", required=False)
@click.option("--path", "only_path", is_flag=True, help="Print where the file lies.")
@click.option("--external", is_flag=True, help="Open it with the desktop's program for it.")
@store_option
@json_option
@quiet_option("Print paths only.")
def open_(
    run: str,
    artifact: str | None,
    only_path: bool,
    external: bool,
    store: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Print or open one of a run's files

    Without ARTIFACT, the run's files are listed. ARTIFACT is a path among them, or the end
    of one: accuracy.png. Its record's files are called runback/output.log and so on.

    A file goes to another program byte by byte. On a terminal text is printed, without what
    would steer the terminal; of an image, a page or other bytes the path is printed: a page
    of a stranger's run is code, and only --external opens it.
    """
    root = store.absolute()
    run_id = find_id(root, run)
    found = read(root, [run_id])
    if not found:
        raise NoSuchRun(run, root, 0)
    known = artifacts.of_run(root, found[0])
    if artifact is None:
        if only_path or external:
            raise click.UsageError("--path and --external need an ARTIFACT")
        _list(known, as_json, quiet)
        return 0
    _show(artifacts.named(found[0], known, artifact), only_path or quiet, external, as_json)
    return 0


def _list(known: list[Artifact], as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json([_plain(artifact) for artifact in known])
        return
    if quiet:
        click.echo("".join(f"{flat(artifact.path)}\n" for artifact in known), nl=False)
        return
    word = size if is_terminal() else str
    sizes = [word(artifact.size_bytes) for artifact in known]
    paths = [artifact.path for artifact in known]
    show([Column("SIZE", sizes, is_number=True), Column("ARTIFACT", paths)])


def _plain(artifact: Artifact) -> dict[str, object]:
    return {
        "path": artifact.path,
        "size_bytes": artifact.size_bytes,
        "file": str(artifact.file),
    }


def _show(artifact: Artifact, only_path: bool, external: bool, as_json: bool) -> None:
    with artifact.open() as file:  # refuses links, whatever is done with it
        if as_json:
            print_json(_plain(artifact))
        elif external:
            _open_outside(artifact.file)
        elif only_path or (is_terminal() and not artifact.is_text()):
            click.echo(flat(str(artifact.file)))
        elif is_terminal():
            for block in codecs.iterdecode(
                iter(lambda: file.read(BLOCK_BYTES), b""), "utf-8", "replace"
            ):
                sys.stdout.write(_tame(block))
        else:
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)


def _tame(text: str) -> str:
    """Return a text with its tabs and line ends, and nothing else that steers a terminal."""
    lines = text.replace("\r\n", "\n").split("\t")
    return "\t".join(map(printable, lines))


def _open_outside(file: Path) -> None:
    import webbrowser

    if not webbrowser.open(file.as_uri()):
        raise NoOpener(file)
