"""runback verify: is this environment what the lock says?"""

from __future__ import annotations

from pathlib import Path

import click

from runback import environment

SHOWN = 10


@click.command()
@click.argument("lock", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--deep", is_flag=True, help="Also read every installed file.")
def verify(lock: Path | None, deep: bool) -> int:
    """Compare the running environment with its lock

    LOCK: a requirements file; without it, what the environment was made from.

    Exit status: 0 the same, 1 different.
    """
    found = environment.compare(lock or environment.own_lock(), deep)
    for heading, rows in (("wrong", found.wrong), ("damaged", found.damaged)):
        _show(heading, rows)
    _show("not in the lock", found.extra)
    files = f", {found.files} files" if deep else ""
    verdict = "as locked" if found.agrees else "different"
    click.echo(f"{verdict}: {found.packages} packages{files}")
    return 0 if found.agrees else 1


def _show(heading: str, rows: tuple[str, ...]) -> None:
    for row in rows[:SHOWN]:
        click.echo(f"{heading}: {row}")
    if len(rows) > SHOWN:
        click.echo(f"{heading}: and {len(rows) - SHOWN} more")
