"""Check what DVC's experiments say of the runs that made them."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from runback.doctor import code
from runback.doctor.finding import Finding, few
from runback.errors import NoRecord, RecordError
from runback.record import manifest
from runback.runs.folder import record_of
from runback.runs.run import read
from runback.store.tags import DVC_BASELINE_TAG, DVC_NAME_TAG, DVC_STAGE_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runback.dvc.experiments import Experiment
    from runback.runs.run import Run


@dataclass(frozen=True)
class Result:
    """An experiment and the run that its metrics name. of: the experiment that trained it."""

    experiment: Experiment
    run: Run
    of: Experiment | None

    @property
    def is_own(self) -> bool:
        return self.experiment == self.of

    @property
    def whose(self) -> str:
        """Return the name of the experiment that trained it; the one of then, if it is gone."""
        return self.of.name if self.of else self.run.tags.get(DVC_NAME_TAG, "")


def results(root: Path, experiments: Sequence[Experiment]) -> list[Result]:
    """Return those of the experiments, oldest first, whose run is here. Raises StoreError."""
    runs = {run.id: run for run in read(root, [e.run_id for e in experiments if e.run_id])}
    known = [(e, runs[e.run_id]) for e in experiments if e.run_id in runs]
    return [Result(e, run, _trained(run, experiments)) for e, run in known]


def _trained(run: Run, experiments: Sequence[Experiment]) -> Experiment | None:
    """Return the experiment that trained a run: of its name, or the oldest, renamed since."""
    name, baseline = run.tags.get(DVC_NAME_TAG), run.tags.get(DVC_BASELINE_TAG)
    found = [e for e in experiments if e.run_id == run.id and e.baseline_rev == baseline]
    return next((e for e in found if e.name == name), found[0] if found else None)


def not_trained(known: Sequence[Result]) -> Iterator[Finding]:
    """Yield the experiments that DVC took from its run cache: their run is of another.

    A run of no stage was never there: `dvc exp save` and DVCLive keep such as experiments.
    """
    for result in known:
        name, run = result.experiment.name, result.run
        if result.is_own or DVC_STAGE_TAG not in run.tags:
            continue
        whose = f"experiment {result.whose}" if result.whose else "no experiment"
        yield Finding(
            "run cache",
            f"experiment {name}: no training was made for it; its result is that of run"
            f" {run.short_id} {run.name} (of {whose}), which had the same inputs",
            f"dvc exp run --force -n {name}   # trains; runback replay {run.short_id}"
            " tells whether it would come out the same",
        )


def edited(root: Path, known: Sequence[Result]) -> Iterator[Finding]:
    """Yield the experiments whose commit has other code or params than those that trained.

    DVC looks at them when the training has ended (dvc#11058), and at tracked files only.
    """
    for name, run, rev in [(r.experiment.name, r.run, r.experiment.rev) for r in known if r.is_own]:
        changed, lacking = code.differing(root, rev, _recorded(run))
        if changed:
            yield Finding(
                "edited",
                f"experiment {name}: its commit has another {few(changed)} than the one that"
                f" trained; what is recorded of run {run.short_id} is the true one",
                f"runback checkout {run.short_id}   # the code and params as they ran",
            )
        if lacking:
            yield Finding(
                "untracked",
                f"experiment {name}: its commit lacks {few(lacking)}, which git did not track;"
                f" run {run.short_id} has it",
                f"git add {' '.join(map(quote, lacking))}   # before the next dvc exp run",
            )


def _recorded(run: Run) -> dict[str, str]:
    """Return the digest of each file of the run's code; none where its record is not here."""
    try:
        known: Any = manifest.read(record_of(run.root, run.listed), run.id).get("code")
    except (NoRecord, RecordError):
        return {}
    files = known.get("files") if isinstance(known, dict) else None
    return dict(files) if isinstance(files, dict) else {}
