"""Compare runs: by what the database has of them, and by their records."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from runback.runs import facts
from runback.runs.facts import CODE, LEFT_OUT, PARTS, WHOLE_CODE
from runback.runs.run import read
from runback.store import datasets
from runback.store.readable import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runback.runs.facts import Facts, Part, Value
    from runback.runs.run import Run

SECTIONS = (
    *("status", "params", "metrics", "code", "environment", "machine", "data", "command"),
    "randomness",
)
# Ids, names and places: they are shown, and two runs that differ in them are not different.
_NAMES = {
    *(("machine", "host"), ("environment", "executable")),
    *(("command", "executable"), ("command", "environ.RUNBACK_HOST")),
    *(("command", "environ.COLUMNS"), ("command", "environ.RUNBACK_SWEEP")),
    *(("command", "environ.SLURM_JOB_ID"), ("command", "environ.MLFLOW_RUN_ID")),
    *(("command", "environ.MLFLOW_PARENT_RUN_ID"), ("command", "environ.MLFLOW_RUN_NAME")),
    *(("command", "environ.MLFLOW_EXPERIMENT_ID"), ("command", "environ.MLFLOW_EXPERIMENT_NAME")),
    *(("command", "environ.MLFLOW_TRACKING_URI"), ("command", "environ.MLFLOW_REGISTRY_URI")),
}


@dataclass(frozen=True)
class Row:
    """A value of each run, None where it has none.

    unknown: the places, among the runs, of those of which it is not known. counts:
    whether runs that differ in it are different.
    """

    name: str
    values: tuple[Value | None, ...]
    unknown: frozenset[int]
    differs: bool
    counts: bool = True


@dataclass(frozen=True)
class Gap:
    """What could not be compared. run: its place among the runs; part: of the section, or ""."""

    run: int
    part: str
    reason: str


@dataclass
class Section:
    """left_out: files that no snapshot has, which nobody could compare."""

    name: str
    rows: list[Row] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Say whether all of it was compared, and nothing differs."""
        return not self.gaps and not any(row.differs for row in self.rows)


@dataclass(frozen=True)
class Diff:
    runs: list[Run]
    sections: list[Section]

    @property
    def is_different(self) -> bool:
        """Say whether anything that counts differs, or could not be compared."""
        rows = (row for section in self.sections for row in section.rows)
        return any(row.differs and row.counts for row in rows) or any(
            section.gaps for section in self.sections
        )


def diff(root: Path, run_ids: Sequence[str]) -> Diff:
    """Compare two runs or more. Raises StoreError; what has no record is a gap."""
    runs = read(root, run_ids)
    with readable(root) as connection:
        used = datasets.of_runs(connection, [run.id for run in runs])
    sections = {name: Section(name) for name in SECTIONS}
    _add(sections["status"], [{"status": run.status} for run in runs])
    _add(sections["params"], [run.params for run in runs], same_text)
    _add(sections["metrics"], [_metrics(run) for run in runs])
    _add(sections["data"], [used.get(run.id, {}) for run in runs], prefix="dataset ")
    recorded = [facts.of_run(root, run) for run in runs]
    for part in PARTS:
        _add_part(sections[part.section], part, recorded)
    return Diff(runs, list(sections.values()))


def _metrics(run: Run) -> dict[str, Value]:
    """Return the latest values, and the best one of the metric that counts."""
    found: dict[str, Value] = {
        name: value for name, value in run.latest.items() if not name.startswith("system/")
    }
    if best := run.best:
        found |= {f"{best.metric} (best)": best.value, f"{best.metric} (best step)": best.step}
    return found


def _add_part(section: Section, part: Part, recorded: Sequence[Facts]) -> None:
    gaps = {at: found.gaps[part] for at, found in enumerate(recorded) if part in found.gaps}
    section.gaps += [Gap(at, part.prefix.strip(), reason) for at, reason in gaps.items()]
    values = [found.values.get(part, {}) for found in recorded]
    if part is WHOLE_CODE and any(row.differs for row in section.rows):
        return  # the files say it better
    _add(section, values, unknown=frozenset(gaps), prefix=part.prefix)
    if part is CODE:
        section.left_out = [row.name for row in section.rows if _is_left_out(row)]


def _is_left_out(row: Row) -> bool:
    return any(isinstance(value, str) and value.startswith(LEFT_OUT) for value in row.values)


def _add(
    section: Section,
    values: Sequence[Mapping[str, Value]],
    same: Callable[[Value | None, Value | None], bool] | None = None,
    unknown: frozenset[int] = frozenset(),
    prefix: str = "",
) -> None:
    """Add a row for each name; those of which nothing is known have no part in the comparison."""
    for name in sorted({name for found in values for name in found}):
        cells = tuple(found.get(name) for found in values)
        known = [cell for at, cell in enumerate(cells) if at not in unknown]
        differs = any(not (same or _same)(known[0], cell) for cell in known[1:])
        shown = prefix + name
        section.rows.append(Row(shown, cells, unknown, differs, _counts(section.name, shown)))


def _counts(section: str, name: str) -> bool:
    is_place = name.startswith("git ") and not name.startswith("git submodules.")
    return (section, name) not in _NAMES and not is_place


def _same(one: Value | None, other: Value | None) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def same_text(one: Value | None, other: Value | None) -> bool:
    """Say whether two params are the same: as numbers, where both are."""
    if one == other or one is None or other is None:
        return one == other
    try:
        numbers = Decimal(str(one)), Decimal(str(other))
    except InvalidOperation:
        return False
    if numbers[0].is_nan() or numbers[1].is_nan():
        return numbers[0].is_nan() and numbers[1].is_nan()
    return numbers[0] == numbers[1]
