"""runback diff: what differs between runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runback.cli.cells import cells, named, say_left_out
from runback.cli.shared import RUN, is_terminal, json_option, print_json, quiet_option, store_option
from runback.cli.table import flat
from runback.runs import diff as verb
from runback.runs.patch import patch as code_patch
from runback.store.find import find_id

if TYPE_CHECKING:
    from pathlib import Path

    from runback.runs.diff import Diff, Row, Section

NOT_COMPARED = "(not compared)"


@click.command()
@click.argument("runs", metavar="RUN RUN [RUN]...", type=RUN, nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Also what is equal.")
@click.option("--patch", is_flag=True, help="Print the difference of the code, as git would.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the runs are different.")
@store_option
@json_option
@quiet_option("Print nothing; with it goes --exit-code.")
def diff(
    runs: tuple[str, ...],
    everything: bool,
    patch: bool,
    exit_code: bool,
    store: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare runs: params, metrics, code, environment, machine, data, command, randomness

    RUN: an id, its beginning, a name, @latest or @best. Only what differs is shown. Params
    that are numbers are compared as numbers; of metrics the latest values and the best;
    code, packages and data by their digests. What a run has not recorded is said to be not
    compared, and counts as a difference. The system's metrics have no part in it.

    --patch prints what turns the first run's code into the second's, for patch -p1 or
    git apply. It needs no git.

    Exit status: 0; with --exit-code 1 if anything but ids, names, places and times differs.
    """
    if len(runs) < 2:
        raise click.UsageError("name two runs or more")
    if patch and (len(runs) > 2 or as_json or everything or quiet):
        raise click.UsageError("--patch is of two runs, and has no --json, --all and --quiet")
    root = store.absolute()
    run_ids = [find_id(root, run) for run in runs]
    if patch:
        return _patch(root, run_ids) and int(exit_code)
    found = verb.diff(root, run_ids)
    if quiet:
        return int(found.is_different)
    if as_json:
        print_json(_plain(found, everything))
    elif is_terminal():
        from runback.cli.sides import show

        show(found, everything)
    else:
        _lines(found, everything)
    return int(exit_code and found.is_different)


def _plain(found: Diff, everything: bool) -> dict[str, Any]:
    ids = [run.id for run in found.runs]
    return {
        "runs": [{"run_id": run.id, "name": run.name} for run in found.runs],
        "different": found.is_different,
        "sections": {
            section.name: {
                "same": section.is_same,
                "rows": [_plain_row(row, ids) for row in section.rows if everything or row.differs],
                "not_compared": [
                    {"run_id": ids[gap.run], "part": gap.part, "reason": gap.reason}
                    for gap in section.gaps
                ],
                "left_out": section.left_out,
            }
            for section in found.sections
        },
    }


def _plain_row(row: Row, ids: list[str]) -> dict[str, Any]:
    about = {"name": row.name, "values": row.values, "differs": row.differs, "counts": row.counts}
    return {**about, "unknown": [ids[at] for at in sorted(row.unknown)]} if row.unknown else about


def _lines(found: Diff, everything: bool) -> None:
    """Print section, name and the value of each run, with tabs between them."""
    for section in found.sections:
        for row in section.rows:
            if row.differs or everything:
                _line(section.name, row.name, *cells(row))
        for reasons, parts in _gaps(section, len(found.runs)).items():
            _line(section.name, f"{NOT_COMPARED} {named(parts)}".strip(), *reasons)
    say_left_out(found)


def _gaps(section: Section, count: int) -> dict[tuple[str, ...], list[str]]:
    """Return the parts that were not compared, by each run's reason, "" of those that have them."""
    found = dict[tuple[str, ...], list[str]]()
    for part in dict.fromkeys(gap.part for gap in section.gaps):
        gaps = {gap.run: gap.reason for gap in section.gaps if gap.part == part}
        found.setdefault(tuple(gaps.get(at, "") for at in range(count)), []).append(part)
    return found


def _line(*words: str) -> None:
    click.echo("\t".join(map(flat, words)))


def _patch(root: Path, run_ids: list[str]) -> int:
    """Print the patch; return 1 if there is any."""
    lines = code_patch(root, run_ids)
    if is_terminal():
        from runback.cli.sides import show_patch

        return show_patch(lines)
    any_lines = 0
    for line in lines:
        any_lines = 1
        sys.stdout.buffer.write(line)
    return any_lines
