"""Check what DVC's experiments say of the runs that made them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from runback import git
from runback.doctor.finding import Finding
from runback.dvc import stages
from runback.errors import NoRecord, RecordError
from runback.record import manifest
from runback.runs.folder import record_of
from runback.runs.run import read
from runback.store.tags import DVC_BASELINE_TAG, DVC_NAME_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runback.dvc.experiments import Experiment
    from runback.runs.run import Run

_OF_DVC = "dvc.lock"


def not_trained(root: Path, experiments: Sequence[Experiment]) -> Iterator[Finding]:
    """Yield the experiments that DVC took from its run cache: their run is of another."""
    runs = _runs(root, experiments)
    names = {experiment.name for experiment in experiments}
    for experiment in experiments:
        run = runs.get(experiment.run_id)
        if run is None or _is_its_own(experiment, run, names):
            continue
        whose = run.tags.get(DVC_NAME_TAG)
        of = f"of experiment {whose}" if whose else "of no experiment"
        yield Finding(
            "run cache",
            f"experiment {experiment.name}: no training took place; DVC took what run"
            f" {run.short_id} {run.name} ({of}) had made of the same inputs",
            f"dvc exp run --force -n {experiment.name}   # trains; runback replay {run.short_id}"
            " tells whether it would come out the same",
        )


def _is_its_own(experiment: Experiment, run: Run, names: set[str]) -> bool:
    """Say whether the experiment trained the run; it may have been renamed since."""
    name, baseline = run.tags.get(DVC_NAME_TAG), run.tags.get(DVC_BASELINE_TAG)
    was_renamed = name is not None and name not in names and baseline == experiment.baseline_rev
    return name == experiment.name or was_renamed


def edited(root: Path, experiments: Sequence[Experiment]) -> Iterator[Finding]:
    """Yield the experiments whose commit has other code or params than those that trained.

    DVC looks at them when the training has ended (dvc#11058), and at tracked files only.
    """
    runs = _runs(root, experiments)
    names = {experiment.name for experiment in experiments}
    for experiment in experiments:
        run = runs.get(experiment.run_id)
        if run is None or not _is_its_own(experiment, run, names):
            continue
        changed, lacking = _differing(root, experiment, run)
        if changed:
            yield Finding(
                "edited",
                f"experiment {experiment.name}: its commit has another {_few(changed)} than the"
                f" one that trained; what is recorded of run {run.short_id} is the true one",
                f"runback checkout {run.short_id}   # the code and params as they ran",
            )
        if lacking:
            yield Finding(
                "untracked",
                f"experiment {experiment.name}: its commit lacks {_few(lacking)}, which git did"
                f" not track; run {run.short_id} has it",
                f"git add {' '.join(lacking[:3])}   # before the next dvc exp run",
            )


def _differing(root: Path, experiment: Experiment, run: Run) -> tuple[list[str], list[str]]:
    """Return the files of the recorded code that the commit has otherwise, and has not."""
    recorded = _code(run)
    prefix = f"{experiment.rev}:./"
    found = git.contents(root, [prefix + path for path in recorded])
    then = {name.removeprefix(prefix): text for name, text in found.items()}
    made = stages.parsed(then.get(stages.FILE, b"")).made | {_OF_DVC}
    files = {path: digest for path, digest in recorded.items() if path not in made}
    changed = [p for p, digest in files.items() if p in then and _digest(then[p]) != digest]
    return changed, [p for p in files if p not in then and p.endswith(".py")]


def _code(run: Run) -> dict[str, str]:
    try:
        known: Any = manifest.read(record_of(run.root, run.listed), run.id).get("code")
    except (NoRecord, RecordError):
        return {}
    files = known.get("files") if isinstance(known, dict) else None
    return dict(files) if isinstance(files, dict) else {}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _runs(root: Path, experiments: Sequence[Experiment]) -> dict[str, Run]:
    found = read(root, [e.run_id for e in experiments if e.run_id])
    return {run.id: run for run in found}


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
