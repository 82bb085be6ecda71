"""Switches are set in one place and read back; one that did not take is an error."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from runback import determinism
from runback.digests import digest_tensors
from runback.errors import DeterminismError

KERAS = """
import os, sys
os.environ["KERAS_BACKEND"] = {backend!r}
from runback import determinism
{before}
determinism.prepare(threads=1)
switches = determinism.seed_keras(7, threads=1)
for name, value in switches.items():
    print(name, value)
"""


def run(backend: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = KERAS.format(backend=backend, before=before)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("tensorflow", {"tensorflow_deterministic True", "tensorflow_onednn False"}),
        ("torch", {"torch_deterministic True", "cudnn_benchmark False", "torch_threads 1"}),
    ],
)
def test_switches_are_read_back(backend: str, expected: set[str]) -> None:
    done = run(backend)
    assert done.returncode == 0, done.stderr
    lines = set(done.stdout.splitlines())
    assert expected | {"python_seed 7", "numpy_seed 7"} <= lines


def test_prepared_too_late_is_an_error_not_another_result() -> None:
    """mlflow.keras imports TensorFlow; oneDNN was on then, and the weights were others."""
    done = run("tensorflow", before="import tensorflow")
    assert done.returncode == 1
    assert "DeterminismError: asked for and not so when read back" in done.stderr
    assert "tensorflow_onednn (False, found True)" in done.stderr


def test_threads_that_tensorflow_no_longer_takes_are_an_error() -> None:
    before = "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'; import tensorflow as tf; tf.constant(1)"
    done = run("tensorflow", before=before)
    assert "tensorflow_threads (1, found 0)" in done.stderr


def test_all_switches_that_did_not_take_are_named() -> None:
    with pytest.raises(DeterminismError) as raised:
        determinism._checked({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5})
    assert str(raised.value).endswith("b (2, found 5), c (3, found None)")


def test_equal_tensors_have_equal_digests() -> None:
    one = {"w": np.arange(6.0).reshape(2, 3), "b": np.float32(0.5)}
    two = {"b": np.float32(0.5), "w": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    assert digest_tensors(one) == digest_tensors(two)
    assert digest_tensors(one).startswith("sha256:")


@pytest.mark.parametrize(
    "other",
    [
        {"w": np.float64(0.0)},
        {"v": np.float32(0.0)},
        {"w": np.float32(-0.0)},
        {"w": np.zeros(1, np.float32)},
        {"w": np.zeros((1, 1), np.float32)},
        {},
    ],
)
def test_name_type_shape_and_every_bit_count(other: dict[str, object]) -> None:
    assert digest_tensors({"w": np.float32(0.0)}) != digest_tensors(other)


@given(st.lists(st.floats(width=32), min_size=1), st.integers(0, 31), st.data())
def test_one_flipped_bit_is_another_digest(
    values: list[float], bit: int, data: st.DataObject
) -> None:
    array = np.array(values, np.float32)
    flipped = array.view(np.uint32).copy()
    flipped[data.draw(st.integers(0, len(values) - 1))] ^= np.uint32(1 << bit)
    assert digest_tensors({"w": array}) != digest_tensors({"w": flipped.view(np.float32)})
    assert digest_tensors({"w": array}) == digest_tensors({"w": array.copy()})
