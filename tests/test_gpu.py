"""Trainings on a real GPU: ./run_script.bash pytest -m gpu. Written, not yet run, without one."""

from __future__ import annotations

import os
import re

import pytest
from conftest import copy_project
from test_train import Done, Place

from runback.launch import kind

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not kind.has_nvidia_driver(), reason="needs an NVIDIA GPU and its driver"),
]

# Runs a script's main(), then prints the most memory that it held on the GPU, and where
# its cuDNN lies. A copy on the CPU would hold none.
SHOW_GPU = """
import importlib, sys
from pathlib import Path
script, framework = sys.argv[1:]
sys.argv = [script, "--epochs", "2"]
importlib.import_module(script).main()
if framework == "tensorflow":
    import tensorflow as tf
    held = tf.config.experimental.get_memory_info("GPU:0")["peak"]
else:
    import torch
    held = torch.cuda.max_memory_allocated()
print("held", held)
for path in {line.split()[-1] for line in open("/proc/self/maps") if "/libcudnn" in line}:
    print("cudnn", Path(path).parent)
"""
# One GPU: Lightning would spread over all.
ONE = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(copy_project(tmp_path_factory.mktemp("gpu") / "my project", git=True))


@pytest.fixture(
    scope="module",
    params=[("train", "tensorflow"), ("train", "torch"), ("train_lightning", "torch")],
    ids=["keras-tensorflow", "keras-torch", "lightning"],
)
def twice(request: pytest.FixtureRequest, place: Place) -> list[Done]:
    """Return two equal trainings, each in a process of its own."""
    script, framework = request.param
    command = ("-c", SHOW_GPU, script, framework)
    environ = {"KERAS_BACKEND": framework, "CUDA_VISIBLE_DEVICES": ONE}
    return [place.run(*command, cwd=None, **environ) for _ in range(2)]


def test_training_is_on_the_gpu(twice: list[Done]) -> None:
    for done in twice:
        assert done.status == 0, done.err
        (held,) = re.findall(r"^held (\d+)$", done.out, re.MULTILINE)
        assert int(held) > 100_000  # a batch between the two convolutions is larger


def test_same_seed_gives_the_same_bits(twice: list[Done]) -> None:
    one, two = twice
    assert one.weights == two.weights


def test_all_parts_of_cudnn_come_from_one_folder(twice: list[Done]) -> None:
    """That it is the right one is for test_gpu_libraries.py to say."""
    folders = re.findall(r"^cudnn (.+)$", twice[0].out, re.MULTILINE)
    assert len(folders) > 1
    assert len(set(folders)) == 1


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_load_of_the_gpu_is_logged(backend: str, place: Place) -> None:
    environ = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ONE}
    done = place.run("train_mlflow.py", "--epochs", "5", cwd=None, **environ)
    assert done.status == 0, done.err
    metrics = f"SELECT DISTINCT key FROM metrics WHERE run_uuid = '{place.run_id(done)}'"
    logged = {str(key) for (key,) in place.query(metrics)}
    assert {
        "system/gpu_0_utilization_percentage",
        "system/gpu_0_memory_usage_megabytes",
    } <= logged
