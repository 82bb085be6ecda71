"""A checkpoint: what is written of it, read back as a stranger's, and recorded by MLflow."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runback.errors import RecordError
from runback.record import checkpoint
from runback.record.checkpoint import Checkpoint, PrimaryMetric

RUN, MODEL = "a" * 32, "m-" + "b" * 32
DIGEST = {"digest": "sha256:" + "c" * 64, "size_bytes": 3}


def stored(folder: Path, **changes: Any) -> Checkpoint:
    """Write a checkpoint into the artifacts of its model; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Checkpoint(
        *(RUN, MODEL, 3, "model.pt", {"loss": 0.5}, PrimaryMetric("loss", "minimize")),
        *(1_700_000_000_000, {"model.pt": DIGEST}),
    )
    made = dataclasses.replace(made, **changes)
    checkpoint.write(folder, made)
    return made


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = stored(tmp_path)
    assert checkpoint.read(tmp_path, MODEL) == made
    bare = stored(tmp_path, primary_metric=None, metrics={}, path="a b", files={"a b/c/d": DIGEST})
    assert checkpoint.read(tmp_path, MODEL) == bare


@settings(max_examples=25)
@given(st.dictionaries(st.text(), st.floats()), st.integers(-(2**63), 2**63 - 1))
def test_every_double_comes_back(
    tmp_path_factory: pytest.TempPathFactory, metrics: dict[str, float], step: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    stored(folder, metrics=metrics, step=step)
    found = checkpoint.read(folder, MODEL)
    assert found.step == step
    assert {name: math.copysign(1, value) for name, value in found.metrics.items()} == {
        name: 1 if math.isnan(value) else math.copysign(1, value) for name, value in metrics.items()
    }
    assert repr(found.metrics) == repr(metrics).replace("-nan", "nan")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("model_id", "m-" + "d" * 32),
        ("run_id", "../" + "a" * 29),
        ("run_id", None),
        ("step", True),
        ("step", 2**63),
        ("step", 1.5),
        ("path", ".."),
        ("path", "a/b"),
        ("path", "/"),
        ("path", "runback"),
        ("path", "a\0b"),
        ("metrics", {"loss": "0.5"}),
        ("metrics", {"loss": True}),
        ("metrics", {"loss": 10**400}),
        ("metrics", []),
        ("primary_metric", {"name": "loss", "goal": "max"}),
        ("created_ms", -1),
        ("files", {}),
        ("files", {"other.pt": DIGEST}),
        ("files", {"model.pt/../../x": DIGEST}),
        ("files", {"/model.pt": DIGEST}),
        ("files", {"model.pt//x": DIGEST}),
        ("files", {"model.pt": {**DIGEST, "digest": "md5:1"}}),
        ("files", {"model.pt": {**DIGEST, "size_bytes": "3"}}),
        ("files", {"model.pt": {"digest": DIGEST["digest"]}}),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    stored(tmp_path)
    path = tmp_path / "runback" / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(RecordError) as raised:
        checkpoint.read(tmp_path, MODEL)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 400 + len(str(path))


def test_links_and_missing_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / MODEL / "artifacts"
    with pytest.raises(RecordError, match="is missing"):
        checkpoint.read(folder, MODEL)
    stored(tmp_path / "elsewhere")
    folder.mkdir(parents=True)
    (folder / "runback").symlink_to(tmp_path / "elsewhere" / "runback")
    with pytest.raises(RecordError, match="symbolic link"):
        checkpoint.read(folder, MODEL)
