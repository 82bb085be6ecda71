"""run.json: all that MLflow's tables say of a run, but its metric points.

`rows` holds MLflow's own rows, table by table, so that a run comes back as it was;
`since` the times at which fields changed while the run went on.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files

if TYPE_CHECKING:
    from pathlib import Path

RUN_ID = re.compile(r"[0-9a-f]{32}")

LATEST_MS = 2**53

Row = dict[str, Any]
Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class State:
    """rows: by table, each row by column. since: ms since 1970 by field (see fields.py)."""

    run_id: str
    rows: Rows
    since: dict[str, int] = field(default_factory=dict)


def write(record: Path, state: State) -> None:
    """Replace run.json."""
    rows = {table: [_strict(row) for row in found] for table, found in state.rows.items() if found}
    content = {"format": files.FORMAT, "run_id": state.run_id, "since": state.since, "rows": rows}
    files.write_json(record / files.RUN, content)


def _strict(row: Row) -> Row:
    """Return the row as strict JSON: an infinity is a string, as in metrics.jsonl."""
    return {
        column: str(value).replace("inf", "Infinity")
        if isinstance(value, float) and math.isinf(value)
        else value
        for column, value in row.items()
    }


def read(record: Path, run_id: str) -> State:
    """Return what run.json of the run `run_id` says. Raises RecordError.

    Only the shape is checked here: rows of plain values, one row in `runs`, the
    right run. Whose rows they are is checked where they are adopted.
    """
    path = record / files.RUN
    content = files.read_json(path)
    rows, since = content.get("rows"), content.get("since", {})
    if content.get("run_id") != run_id:
        raise RecordError(path, f"is of another run, {content.get('run_id')!r}"[:200])
    if not isinstance(rows, dict) or not all(map(_is_table, rows.values())):
        raise RecordError(path, "has no rows of MLflow's tables")
    if not isinstance(since, dict) or not all(map(is_time, since.values())):
        raise RecordError(path, "has no times in `since`")
    if len(rows.get("runs", ())) != 1 or len(rows.get("experiments", ())) != 1:
        raise RecordError(path, "does not have one run of one experiment")
    return State(run_id, rows, since)


def is_time(value: Any) -> bool:
    """Say whether a value can be a time in ms since 1970."""
    return type(value) is int and 0 <= value < LATEST_MS


def _is_table(table: Any) -> bool:
    return isinstance(table, list) and all(
        isinstance(row, dict) and _is_plain(row) for row in table
    )


def _is_plain(row: Row) -> bool:
    return all(
        value is None
        or isinstance(value, str | bool | float)
        or (isinstance(value, int) and -(2**63) <= value < 2**63)
        for value in row.values()
    )
