"""Runs as tables of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.errors import PackageMissing
from runback.record.metrics import number
from runback.runs.listing import metric_names
from runback.store import history as stored
from runback.store.readable import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from runback.runs.run import Run

_SYSTEM = "system/"


def history(run: Run) -> DataFrame:
    """Return a row for each step, a column for each metric, in the order first logged."""
    pandas = _pandas("run.metrics")
    columns: dict[str, dict[int, float]] = {}
    with readable(run.root) as connection:
        for point in stored.all_points(connection, run.id):
            if not point.key.startswith(_SYSTEM):
                values = columns.setdefault(point.key, {})
                values[point.step] = number(point.value, point.is_nan)
    steps = sorted({step for values in columns.values() for step in values})
    index = pandas.Index(steps, name="step", dtype="int64")
    series = {name: pandas.Series(values, dtype="float64") for name, values in columns.items()}
    found: DataFrame = pandas.DataFrame(series, index=index)
    return found


def table(runs: Sequence[Run]) -> DataFrame:
    """Return a row for each run, by id."""
    pandas = _pandas("runs.to_frame()")
    params = sorted({name for run in runs for name in run.params})
    rows = [
        {
            "name": run.name,
            "experiment": run.experiment,
            "status": run.status,
            "started": run.started,
            "duration_s": run.duration_s,
            **{f"params.{name}": run.params.get(name) for name in params},
            **{f"metrics.{name}": run.latest.get(name) for name in metric_names(runs)},
        }
        for run in runs
    ]
    found: DataFrame = pandas.DataFrame(rows, index=pandas.Index([r.id for r in runs], name="run"))
    for name in params:
        column = found[f"params.{name}"]
        numbers = pandas.to_numeric(column, errors="coerce")
        if numbers.notna().equals(column.notna()):
            found[f"params.{name}"] = numbers
    return found


def _pandas(what: str) -> Any:
    try:
        import pandas
    except ImportError:
        raise PackageMissing("pandas", what) from None
    return pandas
