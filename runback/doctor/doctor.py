"""Make every check, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.doctor import experiments as of_experiments
from runback.doctor import head, params, remotes
from runback.dvc import project
from runback.dvc.experiments import experiments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runback.doctor.finding import Finding


def findings(root: Path) -> Iterator[Finding]:
    """Yield what is found in the project `root`. Raises StoreError: its store cannot be read."""
    yield from params.texts(root)
    home = project.home(root)
    if home is None:
        return
    known = experiments(root)
    yield from head.detached(root)
    yield from remotes.relative(home)
    yield from remotes.late(home, known)
    if (root / "mlflow.db").exists():
        results = of_experiments.results(root, known)
        yield from of_experiments.not_trained(results)
        yield from of_experiments.edited(root, results)
