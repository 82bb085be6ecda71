"""Adopt the traces of a run, with their spans; those of another run are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.store.places import TRACE_ID

if TYPE_CHECKING:
    from runback.record.state import Row, State
    from runback.store.places import Places
    from runback.store.rows import Writer

# The tables of a trace's parts, each with the column that holds the trace's id.
_PARTS = {
    "trace_tags": "request_id",
    "trace_request_metadata": "request_id",
    "trace_metrics": "request_id",
    "spans": "trace_id",
    "span_metrics": "trace_id",
    "assessments": "trace_id",
}


def adopt_traces(write: Writer, state: State, places: Places, experiment_id: int) -> None:
    """Insert the traces that were taken in this run."""
    home = {"experiment_id": experiment_id}
    traces = [row for row in state.rows["trace_info"] if _is_own(write, row, state.run_id)]
    own = {row["request_id"] for row in traces}
    write.upsert("trace_info", [{**row, **home} for row in traces])
    for table, key in _PARTS.items():
        rows = (row for row in state.rows.get(table, ()) if row.get(key) in own)
        guard = "assessments.trace_id = excluded.trace_id" if table == "assessments" else ""
        write.upsert(table, [{**r, **home} if "experiment_id" in r else r for r in rows], guard)
    for trace_id in own:
        here = places.artifacts.get(trace_id, places.default(experiment_id, trace_id))
        write.connection.execute(
            "UPDATE trace_tags SET value = ? WHERE request_id = ?"
            " AND key = 'mlflow.artifactLocation'",
            [str(here), trace_id],
        )


def _is_own(write: Writer, row: Row, run_id: str) -> bool:
    trace_id = str(row.get("request_id"))
    if not TRACE_ID.fullmatch(trace_id):
        return False
    is_new = write.one("SELECT 1 FROM trace_info WHERE request_id = ?", trace_id) is None
    owner = write.one(
        "SELECT value FROM trace_request_metadata WHERE request_id = ?"
        " AND key = 'mlflow.sourceRun'",
        trace_id,
    )
    return is_new or owner == run_id
