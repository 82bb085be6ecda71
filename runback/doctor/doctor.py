"""Make every check, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.doctor import dvc, params
from runback.doctor import experiments as of_experiments
from runback.dvc.experiments import experiments, is_used

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runback.doctor.finding import Finding


def findings(root: Path) -> Iterator[Finding]:
    """Yield what is found in the project `root`. Raises StoreError: its store cannot be read."""
    yield from params.texts(root)
    if not is_used(root):
        return
    known = experiments(root)
    yield from dvc.detached_head(root)
    yield from dvc.relative_remotes(root)
    yield from dvc.late_remotes(root, known)
    if (root / "mlflow.db").exists():
        yield from of_experiments.not_trained(root, known)
        yield from of_experiments.edited(root, known)
