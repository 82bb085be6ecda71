"""What several verbs take and print alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 10

store_option = click.option(
    "--store",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of mlflow.db and mlruns/.  [default: this one]",
)


def show_first(heading: str, rows: Sequence[str], rest: str = "", err: bool = False) -> None:
    """Print the first rows, each after the heading, and how many more there are.

    rest: where the others can be read. err: to stderr.
    """
    for row in rows[:SHOWN]:
        click.echo(f"{heading}: {printable(row)}", err=err)
    if len(rows) > SHOWN:
        click.echo(f"{heading}: and {len(rows) - SHOWN} more{rest}", err=err)
