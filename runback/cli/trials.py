"""Word the trials of a search: a line when one has ended, and all of them in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.cli import table, words
from runback.cli.shared import is_terminal
from runback.cli.table import Column
from runback.sweep.trial import FAILED, PRUNED
from runback.terminal import printable

if TYPE_CHECKING:
    from runback.sweep.design import Design
    from runback.sweep.study import Study
    from runback.sweep.trial import Result


def line(result: Result, design: Design) -> str:
    """Return what came of a trial: its place, its values, its metric or why it has none."""
    values = ", ".join(f"{name} {_short(value)}" for name, value in result.values.items())
    return printable(f"trial {result.place}: {values}: {_outcome(result, design.metric)}")


def _outcome(result: Result, metric: str) -> str:
    if result.state == FAILED:
        return f"failed: {result.why}"
    reached = "no value" if result.value is None else f"{metric} {_short(result.value)}"
    ended = f", pruned after {words.plural(result.epochs, 'epoch')}"
    return reached + (ended if result.state == PRUNED else "")


def show(study: Study) -> None:
    """Print all trials that have ended, the best first."""
    ranked, number = study.ranked(), _short if is_terminal() else _exact
    columns = [
        Column("TRIAL", [str(result.place) for result in ranked], is_number=True),
        Column("STATE", [result.state for result in ranked], 3),
        Column(study.design.metric, [number(result.value) for result in ranked], is_number=True),
        Column("EPOCHS", [str(result.epochs) for result in ranked], 4, is_number=True),
    ]
    for rank, name in enumerate(study.design.space, start=10):
        columns.append(Column(name, [number(result.values.get(name)) for result in ranked], rank))
    runs = [result.run_id[:8] if is_terminal() else result.run_id for result in ranked]
    columns.append(Column("RUN", runs, 1))
    table.show(columns, lambda names: table.dim(f"no room for: {names}"))


def _short(value: Any) -> str:
    return words.short(value) if isinstance(value, float) else _exact(value)


def _exact(value: Any) -> str:
    return "" if value is None else str(value)
