"""runback verify: is this environment what the lock says, and is a record whole?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runback import environment
from runback.cli.shared import json_option, own_store, print_json, quiet_option, show_first
from runback.record import check
from runback.store.find import find
from runback.store.identity import known_id
from runback.store.places import scan
from runback.terminal import printable

if TYPE_CHECKING:
    from runback.store.places import Places


@click.command()
@click.argument("run", required=False)
@click.option("--store", metavar="FOLDER", help="Of mlflow.db and mlruns/, as for index.")
@click.option("--records", is_flag=True, help="Check the records of all runs.")
@click.option("--deep", is_flag=True, help="Also read every installed file.")
@json_option
@quiet_option("Print nothing: the exit status tells.")
def verify(
    run: str | None, store: str | None, records: bool, deep: bool, as_json: bool, quiet: bool
) -> int:
    """Check a run's record, or the running environment

    RUN: an id, its beginning, or a name: is every file of the record there, and are the
    artifacts what the run left? Without it, the environment is compared with the lock
    it was made from; a requirements file can be named instead of a run.

    Exit status: 0 whole or the same, 1 not.
    """
    if run and Path(run).is_file():
        return _environment(Path(run), deep, as_json, quiet)
    if not (run or records):
        return _environment(environment.own_lock(), deep, as_json, quiet)
    root = own_store(store).absolute()
    if run:
        places, run_id = find(root, run)
        run_ids = [run_id]
    else:
        places = scan(root / "mlruns")
        run_ids = sorted(places.stamps)
    found = {run_id: _problems(root, places, run_id) for run_id in run_ids}
    if as_json:
        print_json({"runs": found})
    elif not quiet:
        for run_id, problems in found.items():
            for problem in problems or ["whole"]:
                click.echo(f"{run_id[:8]}  {printable(problem)}")
    return int(any(found.values()))


def _problems(root: Path, places: Places, run_id: str) -> list[str]:
    record, models = places.record(run_id), places.artifacts
    return list(check.problems(record, run_id, models, known_id(root)))


def _environment(lock: Path, deep: bool, as_json: bool, quiet: bool) -> int:
    found = environment.compare(lock, deep)
    if as_json:
        print_json({"as_locked": found.agrees, **dataclasses.asdict(found)})
    elif not quiet:
        for heading, rows in (("wrong", found.wrong), ("damaged", found.damaged)):
            show_first(heading, rows)
        show_first("not in the lock", found.extra)
        files = f", {found.files} files" if deep else ""
        verdict = "as locked" if found.agrees else "different"
        click.echo(f"{verdict}: {found.packages} packages{files}")
    return 0 if found.agrees else 1
