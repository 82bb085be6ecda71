"""Planted causes: python -m bench.replay.planted [--short] [WORD …]

One at a time in a recorded run's code, its surroundings or its record; then `runback replay`
says what it finds: whether it is noticed, named as the first or second cause, and the first
step right. A false "identical" makes the exit status 1. WORDs choose by name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.replay.acts import part
from bench.replay.plants import ERROR, IDENTICAL, PLANTS, SCRIPT, Plant
from bench.replay.project import REPOSITORY, Project, empty_store, make

SEED = "random.seed(3); np.random.seed(3); torch.manual_seed(3)  # SEED"
NAMES = 'names = sorted(os.listdir("data"))  # NAMES'


@dataclass(frozen=True)
class Row:
    """What was said of a plant. None: it has nothing to be right about."""

    plant: Plant
    said: dict[str, Any]

    @property
    def verdict(self) -> str:
        return str(self.said["verdict"])

    @property
    def is_false(self) -> bool:
        return self.verdict == IDENTICAL and IDENTICAL not in self.plant.verdicts

    @property
    def noticed(self) -> bool:
        """Say whether it came out as it should, with what is to be noticed in the report."""
        if self.verdict not in self.plant.verdicts:
            return False
        if self.verdict == ERROR or "." in self.plant.noticed:
            return self.plant.noticed in json.dumps(self.said)
        kinds = [
            drift["kind"]
            for drift in self.said["drifts"]
            if drift["restored"] or self.verdict != IDENTICAL
        ]
        return not self.plant.noticed or self.plant.noticed in kinds

    @property
    def named(self) -> bool | None:
        if not self.plant.kinds or self.verdict == ERROR:
            return None
        return bool({cause["kind"] for cause in self.said["causes"][:2]} & {*self.plant.kinds})

    @property
    def step(self) -> bool | None:
        where = self.said.get("divergence")
        if self.plant.first is None:
            return None
        return where is not None and self.plant.first == tuple(
            where[name] for name in ("at", "epoch", "step")
        )

    def __str__(self) -> str:
        marks = (_mark(answer) for answer in (self.noticed, self.named, self.step))
        return f"{self.plant.name:42} {self.verdict:15}" + "".join(f"{mark:>9}" for mark in marks)


def _mark(answer: bool | None) -> str:
    return "-" if answer is None else "yes" if answer else "NO"


def script(plant: Plant) -> str:
    """Return the script with the lines that the plant has for it."""
    text = SCRIPT
    for place, line in plant.code.items():
        known = {"SEED": SEED, "NAMES": NAMES}.get(place, f"# {place}")
        assert known in text
        text = text.replace(known, line, 1)
    return text


def recorded(folder: Path, plant: Plant, database: Path) -> tuple[Project, str]:
    """Return a project with a recorded run, before anything has changed."""
    scripts = {"train.py": script(plant), "settings.py": "SCALE = 1.0\n"}
    project = make(folder, scripts, database=database)
    with (folder / ".gitignore").open("a") as file:
        file.write("data/\nhome/\nmodel.pt\n")
    for name, text in {**plant.files, **part(0), **part(1)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environ = _environ(project, plant.recorded)
    run_id = project.train("train.py", **environ)
    if plant.is_resumed:
        run_id = project.train("train.py", run_id, **environ)
    return project, run_id


def measured(folder: Path, plant: Plant, database: Path) -> Row:
    project, run_id = recorded(folder, plant, database)
    if plant.before:
        plant.before(project, run_id)
    before = os.sched_getaffinity(0)
    if plant.cores:
        os.sched_setaffinity(0, {*map(int, plant.cores.split(","))})
    try:
        return Row(plant, project.replay(run_id, **_environ(project, plant.replayed)))
    finally:
        os.sched_setaffinity(0, before)


def _environ(project: Project, given: dict[str, str]) -> dict[str, str]:
    paths = {name: str(project.root / given[name]) for name in ("KERAS_HOME",) if name in given}
    if "PYTHONPATH" in given:
        paths["PYTHONPATH"] = (
            f"{REPOSITORY}{os.pathsep}{(project.root / given['PYTHONPATH']).resolve()}"
        )
    fixed = {"RUNBACK_LEDGER": "step", "RUNBACK_DATA": "data"}
    return {**fixed, **given, **paths}


def why(said: dict[str, Any]) -> Iterator[str]:
    """Yield what was said, of a plant that was not found right."""
    if "error" in said:
        yield from said["error"].splitlines()[-8:]
        return
    yield f"divergence: {said['divergence']}"
    yield from (f"cause: {c['kind']} {c['name']} {c['strength']}" for c in said["causes"][:4])
    yield from (f"drift: {d}" for d in said["drifts"][:6])
    found = [f for f in said["findings"] if f["status"] not in ("same", "set aside")]
    yield from (f"{f['part']} {f['name']}: {f['status']} {f['detail']}" for f in found[:4])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    wanted = [plant for plant in PLANTS if plant.is_short or not given.short]
    wanted = [p for p in wanted if not given.words or any(word in p.name for word in given.words)]
    print(f"{'planted':42} {'verdict':15}{'noticed':>9}{'named':>9}{'step':>9}")
    rows = []
    # In memory files are listed as they were made, which one plant needs.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="planted-", dir=memory) as folder:
        database = empty_store(Path(folder))
        for number, plant in enumerate(wanted):
            row = measured(Path(folder) / str(number) / "project", plant, database)
            rows.append(row)
            shutil.rmtree(Path(folder) / str(number))
            print(row, flush=True)
            if False in (row.noticed, row.named, row.step):
                print(*(f"    {line}" for line in why(row.said)), sep="\n", flush=True)
    for name in ("noticed", "named", "step"):
        answers = [answer for row in rows if (answer := getattr(row, name)) is not None]
        print(f"{name}: {sum(answers)} of {len(answers)}")
    false = sum(row.is_false for row in rows)
    print(f"false identical: {false}")
    wrong = [row for row in rows if False in (row.noticed, row.named, row.step)]
    return 1 if false or wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
