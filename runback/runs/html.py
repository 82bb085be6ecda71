"""Runs and checkpoints as a notebook shows them. Names come from anywhere: all are escaped."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

from runback.errors import NoMetrics, PackageMissing
from runback.runs.listing import differing, metric_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from runback.runs.checkpoints import Checkpoint
    from runback.runs.run import Run

MOST_ROWS = 50


def of_runs(runs: Sequence[Run]) -> str:
    """Return a table: the params that differ, and the latest metrics."""
    params, metrics = differing(runs), metric_names(runs)
    head = ["run", "name", "started", "status", *params, *metrics]
    rows = [
        [
            *(run.short_id, run.name, _time(run.started), run.status),
            *(run.params.get(name, "") for name in params),
            *(_number(run.latest.get(name)) for name in metrics),
        ]
        for run in runs[:MOST_ROWS]
    ]
    more = len(runs) - len(rows)
    return _table(head, rows) + (f"<p>and {more} more runs</p>" if more else "")


def of_run(run: Run) -> str:
    """Return its fields, params, metrics and checkpoints as tables, and its learning curves."""
    facts = {
        "run": run.id,
        "experiment": run.experiment,
        "status": run.status,
        "started": _time(run.started),
        "duration_s": _number(run.duration_s),
    }
    found = f"<h3>{_text(f'{run.short_id}  {run.name}')}</h3>{_pairs(facts)}"
    if run.params:
        found += f"<h4>params</h4>{_pairs(run.params)}"
    if run.latest:
        latest = {name: _number(run.latest[name]) for name in metric_names([run])}
        found += f"<h4>metrics</h4>{_pairs(latest)}{_picture(run)}"
    if checkpoints := run.checkpoints:
        rows = [[_step(c), c.name, _metrics(c)] for c in checkpoints[-MOST_ROWS:]]
        found += f"<h4>checkpoints</h4>{_table(['step', 'name', 'metrics'], rows)}"
    return f"<div>{found}</div>"


def of_checkpoint(checkpoint: Checkpoint) -> str:
    """Return a table of what it is."""
    facts = {
        "run": f"{checkpoint.run.short_id}  {checkpoint.run.name}",
        "step": _step(checkpoint),
        "name": checkpoint.name,
        "created": _time(checkpoint.created),
        "metrics": _metrics(checkpoint),
    }
    return _pairs(facts)


def _picture(run: Run) -> str:
    from runback.runs.picture import to_bytes

    try:
        svg = to_bytes(run.plot(), "svg")
    except (PackageMissing, NoMetrics):
        return ""
    source = b64encode(svg).decode()
    # As a picture: the ids of several SVGs in a page would be mixed up.
    return f'<img alt="learning curves" src="data:image/svg+xml;base64,{source}">'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _pairs(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _text(text: str) -> str:
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _time(time: datetime | None) -> str:
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M")


def _step(checkpoint: Checkpoint) -> str:
    return ("" if checkpoint.step is None else str(checkpoint.step)) + (
        " (best)" if checkpoint.is_best else ""
    )


def _metrics(checkpoint: Checkpoint) -> str:
    return ", ".join(f"{name} {_number(v)}" for name, v in checkpoint.metrics.items())
