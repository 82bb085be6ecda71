"""What planting a cause does to a recorded run's surroundings, its record, its data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.replay.project import Project

ROWS = 64
Act = Callable[["Project", str], None]


def lines(first: int) -> list[str]:
    """Return the data from a row on: five numbers each, the same every time."""
    return [
        ",".join(f"{((row * 7 + column * 3) % 11) / 11:.6f}" for column in range(5))
        for row in range(first, first + ROWS // 2)
    ]


def part(number: int) -> dict[str, str]:
    """Return one of the two files of data, by name."""
    return {f"data/part-{number}.csv": "\n".join(lines(ROWS // 2 * number)) + "\n"}


def edit(name: str, old: str, new: str) -> Act:
    def act(project: Project, run_id: str) -> None:
        path = project.root / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.chmod(0o644)
        path.write_text(text.replace(old, new, 1))

    return act


def remove(name: str) -> Act:
    return lambda project, run_id: (project.root / name).unlink()


def add(name: str, text: str) -> Act:
    def act(project: Project, run_id: str) -> None:
        (project.root / name).write_text(text)

    return act


def swap_rows(project: Project, run_id: str) -> None:
    path = project.root / "data" / "part-0.csv"
    rows = path.read_text().splitlines()
    rows[20], rows[30] = rows[30], rows[20]
    path.write_text("\n".join(rows) + "\n")


def flip_bit(project: Project, run_id: str) -> None:
    path = project.root / "data" / "part-0.csv"
    content = bytearray(path.read_bytes())
    at = sum(len(line) + 1 for line in lines(0)[:20]) + 4
    content[at] ^= 1
    path.write_bytes(content)


def upgrade(project: Project, run_id: str) -> None:
    folder = project.root.parent / "site-packages"
    shutil.rmtree(folder / "tiny-1.0.0.dist-info")
    for name, text in package("1.0.1", "1.000001").items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def package(version: str, factor: str) -> dict[str, str]:
    """Return the files of a package as pip installs it."""
    import base64
    import hashlib

    code = f"FACTOR = {factor}\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(code.encode()).digest()).decode().rstrip("=")
    info = f"tiny-{version}.dist-info"
    record = f"tiny/__init__.py,sha256={digest},{len(code)}\n{info}/METADATA,,\n{info}/RECORD,,\n"
    metadata = f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
    return {
        "../site-packages/tiny/__init__.py": code,
        f"../site-packages/{info}/METADATA": metadata,
        f"../site-packages/{info}/RECORD": record,
    }


def damage_checkpoint(step: int) -> Act:
    """Flip a bit of the weights at a step."""

    def act(project: Project, run_id: str) -> None:
        for described in project.root.glob("mlruns/*/models/*/artifacts/runback/checkpoint.json"):
            known = json.loads(described.read_text())
            if (known["run_id"], known["step"]) == (run_id, step):
                path = described.parents[1] / known["path"]
                content = bytearray(path.read_bytes())
                # Behind the archive's first header: in the first tensor.
                content[len(content) // 2] ^= 1
                path.chmod(0o644)
                path.write_bytes(content)
                return
        raise SystemExit(f"no checkpoint of step {step}")

    return act


def record(project: Project, run_id: str) -> Path:
    (folder,) = project.root.glob(f"mlruns/*/{run_id}/artifacts/runback")
    return folder


def tamper(is_careful: bool) -> Act:
    """Change a metric in the record; carefully, with its digest."""

    def act(project: Project, run_id: str) -> None:
        from runback.record import files

        path = record(project, run_id) / "metrics.jsonl"
        points: list[Any] = [json.loads(line) for line in path.read_text().splitlines()]
        points[0][1] += 1e-9
        path.write_text("".join(json.dumps(point) + "\n" for point in points))
        if is_careful:
            manifest = path.with_name("manifest.json")
            known = json.loads(manifest.read_text())
            known["files"]["metrics.jsonl"] = files.digest(path)
            manifest.write_text(json.dumps(known))

    return act


def remove_output(project: Project, run_id: str) -> None:
    (record(project, run_id).parent / "notes.txt").unlink()


def move_data(project: Project, run_id: str) -> None:
    (project.root / "data").rename(project.root / "moved")
