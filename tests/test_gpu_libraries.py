"""Which CUDA libraries each framework loads in the image, seen with a stand-in driver.

TensorFlow and torch are built for different CUDA majors, whose libraries in part have the
same names. No GPU is needed: nothing is computed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPOSITORY

from runback.environment import pins
from runback.launch import engine, image

pytestmark = pytest.mark.engine

SOURCES = REPOSITORY / "tests" / "stand_in_driver"
DRIVER = ("libcuda", "libnvidia-ml")
DRIVER_FOLDER = "/usr/lib/x86_64-linux-gnu"  # where NVIDIA's container toolkit puts the real one
TENSORFLOW_CUDA = "/opt/tensorflow-cuda/nvidia"
TORCH_CUDA = r"/opt/venv/lib/python3\.\d+/site-packages/nvidia"
UID = 4321  # of nobody
BUILD_ARGS = shlex.split(os.environ.get("RUNBACK_BUILD_ARGS", ""))
ENGINE_ARGS = shlex.split(os.environ.get("RUNBACK_ENGINE_ARGS", ""))


@dataclass(frozen=True)
class Loaded:
    """What loaded.py found in a container; see there."""

    files: list[str]
    cudnn: int | None
    answers: list[int]
    gpus: int = 0
    ptxas: str = ""

    @property
    def names(self) -> set[str]:
        return {Path(file).name for file in self.files}

    def outside(self, folder: str) -> list[str]:
        return [file for file in self.files if not re.match(folder, file)]


Load = Callable[..., Loaded]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Return a function that has a framework load its libraries in a new container."""
    found = engine.find()
    if isinstance(found, engine.Absent):
        pytest.skip(f"needs a container engine that answers ({found})")
    if not shutil.which("cc") or platform.machine() != "x86_64":
        pytest.skip("needs a C compiler (cc) on x86_64, for the stand-in driver")
    name = image.tag(REPOSITORY, BUILD_ARGS)
    if not image.exists(found, name):
        image.build(found, REPOSITORY, name, BUILD_ARGS, dict(os.environ))
    mounts = compile_driver(tmp_path_factory.mktemp("driver"))
    mounts[SOURCES / "loaded.py"] = "/tmp/loaded.py"
    options = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
    # SELinux would keep the container from files that are not labelled as its own.
    command = [found.program, "run", "--rm", f"--user={UID}:{UID}", "--security-opt=label=disable"]

    def load(framework: str, *more: str) -> Loaded:
        given = [*ENGINE_ARGS, *options, *more, name, "python", "/tmp/loaded.py", framework]
        done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return Loaded(**json.loads(done.stdout))

    return load


def compile_driver(folder: Path) -> dict[Path, str]:
    """Compile the stand-in driver; return where each of its libraries is to be mounted."""
    mounts = {}
    for name in DRIVER:
        library = folder / f"{name}.so.1"
        flags = ["-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
        subprocess.run(["cc", *flags, "-o", library, SOURCES / f"{name}.c"], check=True)
        mounts[library] = f"{DRIVER_FOLDER}/{library.name}"
    return mounts


@pytest.fixture(scope="module")
def tensorflow(load: Load) -> Loaded:
    return load("tensorflow")


@pytest.fixture(scope="module")
def torch(load: Load) -> Loaded:
    return load("torch")


def cudnn_of(lock: str, name: str) -> int:
    """Return a lock's cuDNN as cuDNN itself names it: 9.24.0.43 is 92400."""
    major, minor, patch, _ = dict(pins((REPOSITORY / lock).read_text()))[name].split(".")
    return int(major) * 10_000 + int(minor) * 100 + int(patch)


def test_tensorflow_finds_a_gpu_with_its_own_cuda_12(tensorflow: Loaded) -> None:
    assert tensorflow.gpus == 1
    assert tensorflow.outside(TENSORFLOW_CUDA) == []
    assert {
        *("libcublas.so.12", "libcublasLt.so.12", "libcudart.so.12", "libcufft.so.11"),
        *("libcupti.so.12", "libcusolver.so.11", "libcusparse.so.12", "libnccl.so.2"),
    } <= tensorflow.names


def test_torch_loads_its_own_cuda_13(torch: Loaded) -> None:
    assert torch.outside(TORCH_CUDA) == []
    assert {
        *("libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13", "libcufft.so.12"),
        *("libcupti.so.13", "libcusolver.so.12", "libcusparse.so.12", "libnccl.so.2"),
    } <= torch.names


@pytest.mark.parametrize(
    ("framework", "lock", "name"),
    [
        ("tensorflow", "docker/tensorflow-cuda.txt", "nvidia-cudnn-cu12"),
        ("torch", "requirements.txt", "nvidia-cudnn-cu13"),
    ],
)
def test_all_parts_of_a_cudnn_are_of_one_version(
    framework: str, lock: str, name: str, request: pytest.FixtureRequest
) -> None:
    """torch's asked the search path for its engines, and a convolution failed (pytorch#188892)."""
    loaded: Loaded = request.getfixturevalue(framework)
    assert loaded.cudnn == cudnn_of(lock, name)
    assert loaded.answers == [0, 0, 0, 0, 0]
    parts = ("graph", "ops", "cnn", "adv", "heuristic", "engines_precompiled")
    more = ("engines_runtime_compiled", "engines_tensor_ir")
    assert {f"libcudnn_{part}.so.9" for part in (*parts, *more)} <= loaded.names


def test_without_its_libraries_tensorflow_finds_no_gpu(load: Load) -> None:
    """The stand-in alone is not enough: the test above can fail."""
    assert load("tensorflow", f"--mount=type=tmpfs,destination={TENSORFLOW_CUDA}").gpus == 0


def test_with_the_others_cudnn_on_the_search_path_torchs_fails(load: Load) -> None:
    """Why the image has no CUDA library on LD_LIBRARY_PATH, and that it would be noticed."""
    mixed = load("torch", f"--env=LD_LIBRARY_PATH={TENSORFLOW_CUDA}/cudnn/lib")
    assert mixed.outside(TORCH_CUDA) != []
    assert mixed.answers != [0, 0, 0, 0, 0]


@pytest.mark.parametrize("flags", [None, "--xla_gpu_deterministic_ops=true"])
def test_xla_finds_its_device_library_and_assembler(
    flags: str | None, load: Load, tensorflow: Loaded
) -> None:
    """Keras compiles with XLA on a GPU. A user's own XLA_FLAGS must not take them away."""
    loaded = load("tensorflow", f"--env=XLA_FLAGS={flags}") if flags else tensorflow
    assert "Cuda compilation tools, release 12." in loaded.ptxas
