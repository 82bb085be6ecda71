"""Runs and checkpoints as a notebook shows them. Names come from anywhere: all are escaped."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

from runback.runs.listing import differing, metric_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from runback.runs.run import Run

MOST_ROWS = 50


def of_runs(runs: Sequence[Run]) -> str:
    """Return a table: the params that differ, and the latest metrics."""
    params, metrics = differing(runs), metric_names(runs)
    head = ["run", "name", "started", "status", *params, *metrics]
    rows = [
        [
            *(run.short_id, run.name, time(run.started), run.status),
            *(run.params.get(name, "") for name in params),
            *(number(run.latest.get(name)) for name in metrics),
        ]
        for run in runs[:MOST_ROWS]
    ]
    more = len(runs) - len(rows)
    return _table(head, rows) + (f"<p>and {more} more runs</p>" if more else "")


def of_run(run: Run, checkpoints: Sequence[Mapping[str, str]], picture: bytes | None) -> str:
    """Return its fields, params, metrics and checkpoints as tables, and its learning curves.

    checkpoints: each by name of a column. picture: an SVG.
    """
    facts = {
        "run": run.id,
        "experiment": run.experiment,
        "status": run.status,
        "started": time(run.started),
        "duration_s": number(run.duration_s),
    }
    found = f"<h3>{_text(f'{run.short_id}  {run.name}')}</h3>{pairs(facts)}"
    if run.params:
        found += f"<h4>params</h4>{pairs(run.params)}"
    if run.latest:
        latest = {name: number(run.latest[name]) for name in metric_names([run])}
        found += f"<h4>metrics</h4>{pairs(latest)}{_picture(picture)}"
    if checkpoints:
        rows = [list(one.values()) for one in checkpoints[-MOST_ROWS:]]
        found += f"<h4>checkpoints</h4>{_table(list(checkpoints[0]), rows)}"
    return f"<div>{found}</div>"


def _picture(svg: bytes | None) -> str:
    if svg is None:
        return ""
    source = b64encode(svg).decode()
    # As a picture: the ids of several SVGs in a page would be mixed up.
    return f'<img alt="learning curves" src="data:image/svg+xml;base64,{source}">'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def pairs(facts: Mapping[str, str]) -> str:
    """Return a table of names and values."""
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _text(text: str) -> str:
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def number(value: float | None) -> str:
    """Return a number with five digits that count, "" for none."""
    return "" if value is None else f"{value:.5g}"


def time(moment: datetime | None) -> str:
    """Return a time to the minute, "" for none."""
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M")
