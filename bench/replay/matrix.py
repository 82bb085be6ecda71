"""Trainings that should replay: python -m bench.replay.matrix [--short] [--in container] [WORD …]

Each cell is trained, then replayed from its record by `runback replay`; N of N must be
identical, else the exit status is 1. WORDs choose cells by framework or variant.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.replay.project import Project, make

TRAININGS = Path(__file__).parent / "trainings"
# Of the last, a plain training, the replay starts from a step.
VARIANTS = (
    *("plain", "augmentation", "workers", "early-stopping", "resumed", "mixed-precision"),
    "from-step",
)
FRAMEWORKS = {
    "keras-tensorflow": "train_keras.py",
    "keras-torch": "train_keras.py",
    "lightning": "train_lightning.py",
    "torch": "train_torch.py",
    "sklearn": "train_sklearn.py",
}
# One of each framework, the variants spread: under three minutes on two cores.
SHORT = {
    *(("keras-tensorflow", "augmentation"), ("keras-torch", "early-stopping")),
    *(("lightning", "workers"), ("torch", "resumed"), ("sklearn", "plain")),
}


@dataclass(frozen=True)
class Cell:
    framework: str
    variant: str

    @property
    def script(self) -> str:
        return FRAMEWORKS[self.framework]

    @property
    def environ(self) -> dict[str, str]:
        backend = self.framework.removeprefix("keras-")
        return {"KERAS_BACKEND": backend} if backend != self.framework else {}


@dataclass(frozen=True)
class Row:
    cell: Cell
    said: dict[str, Any]
    training_s: float
    replay_s: float

    def __str__(self) -> str:
        cell, said = self.cell, self.said
        times = f"{self.training_s:6.1f} {self.replay_s:6.1f}"
        compared = f"{_count(said, 'same'):5} {_count(said, 'not compared'):5}"
        return f"{cell.framework:17} {cell.variant:16} {times} {compared}  {said['verdict']}"


def cells(is_short: bool, words: list[str]) -> Iterator[Cell]:
    for framework in FRAMEWORKS:
        for variant in VARIANTS:
            has_it = framework != "sklearn" or variant != "mixed-precision"
            is_asked = (
                not words or {framework, variant} & {*words} or f"{framework}/{variant}" in words
            )
            if has_it and is_asked and (not is_short or (framework, variant) in SHORT):
                yield Cell(framework, variant)


def measured(project: Project, cell: Cell) -> Row:
    """Train a cell, and replay it."""
    began_s = time.monotonic()
    is_late = cell.variant == "from-step"
    words = (cell.script, "--variant", "plain" if is_late else cell.variant)
    run_id = project.train(*words, **cell.environ)
    if cell.variant == "resumed":
        run_id = project.train(*words, "--resume", run_id, **cell.environ)
    trained_s = time.monotonic()
    said = project.replay(run_id, *(("--from-step", "1") if is_late else ()))
    return Row(cell, said, trained_s - began_s, time.monotonic() - trained_s)


def why(said: dict[str, Any]) -> Iterator[str]:
    """Yield what speaks against identical."""
    if "error" in said:
        yield from said["error"].splitlines()[-12:]
        return
    if said["why"]:
        yield said["why"]
    for finding in said["findings"]:
        if finding["status"] not in ("same", "set aside"):
            words = [f"{finding['part']} {finding['name']}: {finding['status']}", finding["detail"]]
            yield "; ".join(filter(None, words))
    yield f"divergence: {said['divergence']}"
    for cause in said["causes"][:3]:
        yield f"cause: {cause['kind']} {cause['name']} {cause['strength']}"


def _count(said: dict[str, Any], status: str) -> int:
    return sum(finding["status"] == status for finding in said.get("findings", ()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--in", dest="place", choices=("venv", "container"), default="venv")
    given = parser.parse_args()
    scripts = {name: (TRAININGS / name).read_text() for name in {*FRAMEWORKS.values()}}
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        project = make(Path(folder) / "project", scripts, given.place == "container")
        print(f"{'framework':17} {'variant':16} {'train':>6} {'replay':>6} {'same':>5} {'not':>5}")
        rows = []
        for cell in cells(given.short, given.words):
            rows.append(measured(project, cell))
            print(rows[-1], flush=True)
            if rows[-1].said["verdict"] != "identical":
                print(*(f"    {line}" for line in why(rows[-1].said)), sep="\n", flush=True)
    right = sum(row.said["verdict"] == "identical" and row.said["status"] == 0 for row in rows)
    print(f"{right} of {len(rows)} identical, in the {given.place}")
    return 0 if rows and right == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
