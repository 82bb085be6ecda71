"""runback show: all that is known of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from runback.cli import facts, table, words
from runback.cli.ls import as_object
from runback.cli.shared import RUN, is_terminal, json_option, print_json, quiet_option, store_option
from runback.cli.table import Column
from runback.runs.details import details
from runback.store.find import find_id
from runback.store.tags import REPLAY_OF_TAG, VERDICT_TAG
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runback.runs.details import Curve, Details, Kept

BARS = "▁▂▃▄▅▆▇█"
ARTIFACTS, CHECKPOINTS = 20, 10
LARGEST_DRAWN = 1e150  # beyond, the span of two values has no double


@click.command()
@click.argument("run", type=RUN)
@store_option
@click.option(
    "--all",
    "-a",
    "everything",
    is_flag=True,
    help="All checkpoints and artifacts, system metrics too.",
)
@json_option
@quiet_option("Print the full id only.")
def show(run: str, store: Path, everything: bool, as_json: bool, quiet: bool) -> int:
    """Show all that is known of a run

    Params, metrics and their course, checkpoints (the best by the primary metric is
    marked), artifacts, command, code, environment, machine and data. RUN: an id, its
    beginning, a name, @latest or @best. Piped: lines of section, name and values, with
    tabs between them.
    """
    root = store.absolute()
    run_id = find_id(root, run)
    if quiet:
        click.echo(run_id)
        return 0
    found = details(root, run_id, everything)
    if as_json:
        print_json(_object(found))
    elif is_terminal():
        _print(found, everything)
    else:
        _print_lines(found)
    return 0


def _print(found: Details, everything: bool) -> None:
    _print_head(found)
    table.pairs(facts.of_manifest(found.manifest))
    if found.wrong:
        table.dim(found.wrong)
    for what in facts.missing(found.manifest):
        click.echo(f"missing  {printable(what)}")
    _section("params", bool(found.run.params))
    table.pairs(sorted(found.run.params.items()), indent=2)
    _section("metrics", bool(found.curves))
    table.show(_metrics(found.curves), indent=2, heading=False)
    _section("checkpoints", bool(found.checkpoints))
    kept = found.checkpoints if everything else _few(found.checkpoints)
    table.show(_checkpoints(kept), indent=2)
    if len(kept) < len(found.checkpoints):
        table.dim(f"  and {len(found.checkpoints) - len(kept)} more: --all")
    _section("artifacts", bool(found.artifacts))
    shown = list(found.artifacts.items())[: None if everything else ARTIFACTS]
    table.show(_artifacts(shown), indent=2, heading=False)
    if len(shown) < len(found.artifacts):
        table.dim(f"  and {len(found.artifacts) - len(shown)} more: --all")
    _print_next(found)


def _print_head(found: Details) -> None:
    from rich.console import Console
    from rich.text import Text

    run = found.run
    status = Text(run.status, style=table.STYLES.get(run.status, ""))
    head = [Text(run.short_id, style="bold"), Text(printable(run.name)), status]
    console = Console(highlight=False)
    console.print(Text("  ").join([*head, Text(f"experiment {printable(run.experiment)}")]))
    took = "" if run.duration_s is None else f", took {words.duration(run.duration_s)}"
    by = f", by {run.listed.user}" if run.listed.user else ""
    if run.listed.started_ms is not None:
        moment, ago = words.local(run.listed.started_ms), words.ago(run.listed.started_ms)
        moment += "" if moment.startswith(ago) else f", {ago}"
        console.print(Text(printable(f"started {moment}{took}{by}")))
    for tag, text in ((VERDICT_TAG, "replayed: {}"), (REPLAY_OF_TAG, "a replay of {:.8}")):
        if value := run.tags.get(tag):
            console.print(Text(printable(text.format(value))))
    for name, value in facts.own_tags(run.tags):
        console.print(Text(printable(f"{name}: {value}")))


def _section(title: str, is_there: bool) -> None:
    if is_there:
        click.echo(f"\n{click.style(title, bold=True)}")


def _few(kept: Sequence[Kept]) -> list[Kept]:
    """Return the last checkpoints and the best."""
    return [k for k in kept[:-CHECKPOINTS] if k.is_best] + list(kept[-CHECKPOINTS:])


def _metrics(curves: Sequence[Curve]) -> list[Column]:
    return [
        Column("METRIC", [curve.name for curve in curves]),
        Column("LATEST", [words.short(curve.value) for curve in curves], is_number=True),
        Column("STEP", [f"@{curve.step}" for curve in curves], 1),
        Column("COURSE", [sparkline([v for _, v in curve.samples]) for curve in curves], 2),
    ]


def _checkpoints(kept: Sequence[Kept]) -> list[Column]:
    every = {name for one in kept for name in one.model.metrics}
    names = sorted(name for name in every if not name.startswith("system/"))
    return [
        Column("STEP", ["" if k.model.step is None else str(k.model.step) for k in kept]),
        Column("NAME", [k.model.name + (" (best)" if k.is_best else "") for k in kept], 1),
        *(
            Column(name, [_value(k, name) for k in kept], 5 + i, is_number=True)
            for i, name in enumerate(names)
        ),
        Column("SIZE", [_size(k) for k in kept], 3, is_number=True),
        Column("ID", [k.model.model_id[:10] for k in kept], 4),
    ]


def _value(kept: Kept, name: str) -> str:
    return words.short(kept.model.metrics[name]) if name in kept.model.metrics else ""


def _size(kept: Kept) -> str:
    return "not here" if kept.size_bytes is None else words.size(kept.size_bytes)


def _artifacts(shown: Sequence[tuple[str, int]]) -> list[Column]:
    return [
        Column("PATH", [path for path, _ in shown]),
        Column("SIZE", [words.size(size) for _, size in shown], is_number=True),
    ]


def _print_next(found: Details) -> None:
    run_id = found.run.short_id
    click.echo()
    hints = [
        (f"runback checkout {run_id}", "its code and checkpoint, into a new folder"),
        (f"runback diff {run_id} RUN", "what another run did differently"),
        (f"runback plot {run_id}", "its curves"),
    ]
    table.pairs(hints, style="dim")


def sparkline(values: Sequence[float]) -> str:
    """Return a curve of one line; what is not finite is a blank."""
    drawn = [value if abs(value) < LARGEST_DRAWN else math.nan for value in values]
    finite = [value for value in drawn if value == value]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    span = high - low or 1.0
    return "".join(
        BARS[min(7, int((value - low) / span * 8))] if value == value else " " for value in drawn
    )


def _print_lines(found: Details) -> None:
    run, best = found.run, found.run.best
    lines = [
        *(("run", name, str(value)) for name, value in as_object(run).items() if _is_plain(value)),
        *(("tag", name, value) for name, value in facts.own_tags(run.tags)),
        *(("fact", name, value) for name, value in facts.of_manifest(found.manifest)),
        *(("missing", what) for what in facts.missing(found.manifest)),
        *([("wrong", found.wrong)] if found.wrong else []),
        *([("best", best.metric, repr(best.value), str(best.step))] if best else []),
        *(("param", name, value) for name, value in sorted(run.params.items())),
        *(("metric", curve.name, repr(curve.value), str(curve.step)) for curve in found.curves),
        *(_line(kept) for kept in found.checkpoints),
        *(("artifact", path, str(size)) for path, size in found.artifacts.items()),
    ]
    click.echo("".join("\t".join(map(table.flat, line)) + "\n" for line in lines), nl=False)


def _line(kept: Kept) -> tuple[str, ...]:
    model = kept.model
    best = "best" if kept.is_best else ""
    size = "" if kept.size_bytes is None else str(kept.size_bytes)
    step = "" if model.step is None else str(model.step)
    return ("checkpoint", model.model_id, step, model.name, size, best)


def _is_plain(value: object) -> bool:
    return value is not None and not isinstance(value, dict)


def _object(found: Details) -> dict[str, Any]:
    """Return what --json prints; of the manifest all but the digests, file by file."""
    kept = [
        {
            "model_id": one.model.model_id,
            "name": one.model.name,
            "step": one.model.step,
            "metrics": one.model.metrics,
            "size_bytes": one.size_bytes,
            "is_best": one.is_best,
        }
        for one in found.checkpoints
    ]
    return {
        **as_object(found.run),
        "tags": found.run.tags,
        "metrics": {c.name: {"value": c.value, "step": c.step} for c in found.curves},
        "checkpoints": kept,
        "artifacts": found.artifacts,
        "record": facts.without_digests(found.manifest),
        "wrong": found.wrong,
    }
