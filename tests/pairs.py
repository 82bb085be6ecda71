"""Two records of one training, to be compared: each as capture leaves it, made without MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from records import make_record, new_id, run_of

from runback.evidence.compare import compare
from runback.evidence.finding import SAME, Evidence, Finding
from runback.evidence.side import Side, Wish
from runback.record import files, ledger, manifest, metrics
from runback.record.ledger import Line
from runback.record.metrics import Point

POINTS = (("loss", 0.5, 0), ("loss", 0.25, 1), ("loss", 0.125, 2))


@dataclass(frozen=True)
class Model:
    """A logged model: its files by path."""

    name: str
    step: int
    files: Mapping[str, bytes]


@dataclass
class Training:
    """What a run left, to be written as a record."""

    points: Iterable[tuple[str, float, int]] = POINTS
    params: Mapping[str, str] = field(default_factory=lambda: {"lr": "0.1"})
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    models: Sequence[Model] = ()
    lines: Sequence[Line] = ()
    status: str = "FINISHED"
    manifest: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Any] = field(default_factory=dict)

    def side(self, mlruns: Path) -> Side:
        run_id = new_id()
        points = [point(*p) for p in self.points]
        rows = {**self._rows(run_id), **self.rows}
        record = make_record(mlruns, run_id, points, status=self.status, rows=rows)
        if self.lines:
            ledger.append(record / files.LEDGER, [ledger.to_line(line) for line in self.lines])
        for name, content in self.artifacts.items():
            write(record.parent / name, content)
        models = {
            row["model_id"]: mlruns / "1" / "models" / row["model_id"] / "artifacts"
            for row in rows["logged_models"]
        }
        for model, folder in zip(self.models, models.values(), strict=True):
            for name, content in model.files.items():
                write(folder / name, content)
        return _finished(record, models, self.manifest)

    def _rows(self, run_id: str) -> dict[str, Any]:
        ids = [f"m-{new_id()}" for _ in self.models]
        return {
            "params": [{"key": k, "value": v, "run_uuid": run_id} for k, v in self.params.items()],
            "logged_models": [
                {"model_id": i, "name": m.name, "status": 2, "creation_timestamp_ms": nth}
                for nth, (i, m) in enumerate(zip(ids, self.models, strict=True))
            ],
            "inputs": [
                {
                    **{"source_type": "RUN_OUTPUT", "source_id": run_id},
                    **{"destination_type": "MODEL_OUTPUT", "destination_id": i, "step": m.step},
                }
                for i, m in zip(ids, self.models, strict=True)
            ],
        }


def _finished(record: Path, models: dict[str, Path], more: Mapping[str, Any]) -> Side:
    run_id = run_of(record)
    found = {model_id: manifest.digests(folder) for model_id, folder in models.items()}
    known = {**manifest.read(record, run_id), **more}
    if manifest.is_final(known):
        manifest.finish(record, known, manifest.digests(record.parent), found)
    return Side(run_id, record.parent, models, manifest.read(record, run_id) | dict(more))


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def point(key: str, value: float, step: int) -> Point:
    return metrics.point(key, value, 1_700_000_000_000 + step, step)


def compared(folder: Path, one: Training, other: Training, wish: Wish | None = None) -> Evidence:
    """Write both as records in two stores, and compare them."""
    return compare(one.side(folder / "a" / "mlruns"), other.side(folder / "b" / "mlruns"), wish)


def notable(evidence: Evidence, part: str) -> list[Finding]:
    """Return what is found of a part that is not the same."""
    return [f for f in evidence.findings if f.part == part and f.status != SAME]


def only(evidence: Evidence, part: str) -> Finding:
    """Return the one finding of a part."""
    (found,) = [f for f in evidence.findings if f.part == part]
    return found
