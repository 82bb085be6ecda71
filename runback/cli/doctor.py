"""runback doctor: what would hurt later?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from runback.cli.shared import json_option, own_store_option, print_json, quiet_option
from runback.doctor.doctor import findings
from runback.terminal import printable

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@own_store_option
@json_option
@quiet_option("Print nothing: the exit status tells.")
def doctor(store: Path, as_json: bool, quiet: bool) -> int:
    """Look for what would hurt later

    Of a project that uses DVC: remotes that an experiment's push would miss, a HEAD that
    a killed `dvc exp run` left detached, experiments that were not trained but taken
    from the run cache, and those whose code or params were edited while they trained.
    Of params: 1e-3, which is a text to PyYAML. Changes nothing.

    Exit status: 0 nothing found, 1 something.
    """
    found = list(findings(store.absolute()))
    if as_json:
        print_json([asdict(finding) for finding in found])
    elif not quiet:
        for finding in found:
            click.echo(f"{finding.about}: {printable(finding.text)}")
            click.echo(f"  hint: {printable(finding.hint)}")
        if not found:
            click.echo("nothing found")
    return int(bool(found))
