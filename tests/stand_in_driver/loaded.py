"""Print as JSON which CUDA libraries a framework loads: python loaded.py tensorflow|torch

Runs in the container. What a training would load at its first operation on a GPU is loaded
here as that operation would: by the library that needs it, from where that one looks.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

# NVIDIA's libraries, but for those of the driver.
LIBRARY = re.compile(r"/lib(?:cu(?!rl|da\.)|nccl|nv(?!idia-))[^/]*\.so[^/]*$")
CUDNN_TENSOR = 17  # CUDNN_BACKEND_TENSOR_DESCRIPTOR; below, its attributes, of cudnn_graph.h
DATA_TYPE, DIMENSIONS, STRIDES, UNIQUE_ID, ALIGNMENT = 901, 902, 903, 906, 900
TYPE_OF_DATA_TYPE, TYPE_OF_INT64 = 1, 3
LOADER = "_ZN3tsl8internal9DsoLoader{}DsoHandleEv"  # tsl::internal::DsoLoader::Get…DsoHandle()
LIBDEVICE_PATH = (
    "_ZN3xla3gpu5nvptx13LibDevicePathB5cxx11ESt17basic_string_viewIcSt11char_traitsIcEE"
)


def tensorflow() -> dict[str, object]:
    """Count the GPUs; load NCCL and CUPTI by TensorFlow's own loader; ask XLA for libdevice."""
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    folder = Path(tf.__file__).parent
    framework = ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"))
    for name in ("16GetNccl", "17GetCupti"):
        returned(framework[LOADER.format(name)])
    libdevice = Path(libdevice_path(ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))))
    if not libdevice.is_file():
        return {"gpus": gpus}
    ptxas = str(libdevice.parents[2] / "bin" / "ptxas")
    return {"gpus": gpus, "ptxas": subprocess.check_output([ptxas, "--version"], text=True)}


def torch() -> dict[str, object]:
    """Load cuDNN as torch does, which also compares its version with that of torch's build."""
    import torch

    torch.backends.cudnn.version()
    return {}


def libdevice_path(xla: ctypes.CDLL) -> str:
    """Return where XLA looks for the functions that it links into its kernels."""
    flag = re.search(r"--xla_gpu_cuda_data_dir=(\S+)", os.environ.get("XLA_FLAGS", ""))
    start = (flag[1] if flag else "./cuda_sdk_lib").encode()  # XLA's default
    text, size, *_ = returned(xla[LIBDEVICE_PATH], ctypes.c_size_t(len(start)), start)
    return ctypes.string_at(text, size).decode()


def returned(function: Any, *arguments: object) -> list[int]:
    """Return the words of a C++ object that a function returns through a hidden pointer."""
    words = (ctypes.c_size_t * 8)()
    function.restype = None
    function(words, *arguments)
    return list(words)


def load_all_of_cudnn() -> dict[str, object]:
    """Load the parts of the cuDNN that is loaded already; return its version and what they say.

    cuDNN is a thin library that loads its parts as they are needed. A tensor is where a
    convolution begins, and needs no GPU. Of the answers 0 is success.
    """
    try:
        cudnn = ctypes.CDLL("libcudnn.so.9", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return {"cudnn": None, "answers": []}
    checks = ("cudnnGraphVersionCheck", "cudnnOpsVersionCheck", "cudnnCnnVersionCheck")
    answers = [cudnn[check]() for check in (*checks, "cudnnAdvVersionCheck")]
    return {"cudnn": cudnn.cudnnGetVersion(), "answers": [*answers, finalize_tensor(cudnn)]}


def finalize_tensor(cudnn: ctypes.CDLL) -> int:
    """Describe a tensor to cuDNN's graph library, and return its answer."""
    tensor = ctypes.c_void_p()
    assert cudnn.cudnnBackendCreateDescriptor(CUDNN_TENSOR, ctypes.byref(tensor)) == 0
    for name, *values in (
        (DATA_TYPE, 0),
        (DIMENSIONS, 1, 8, 8, 8),
        (STRIDES, 512, 64, 8, 1),
        (UNIQUE_ID, 1),
        (ALIGNMENT, 16),
    ):
        kind = TYPE_OF_DATA_TYPE if name == DATA_TYPE else TYPE_OF_INT64
        array = (ctypes.c_int64 * len(values))(*values)
        count = ctypes.c_int64(len(values))
        assert cudnn.cudnnBackendSetAttribute(tensor, name, kind, count, array) == 0
    return int(cudnn.cudnnBackendFinalize(tensor))


def mapped() -> list[str]:
    """Return the files of CUDA libraries in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({path for path in (line.split()[-1] for line in lines) if LIBRARY.search(path)})


if __name__ == "__main__":
    found = {"tensorflow": tensorflow, "torch": torch}[sys.argv[1]]()
    print(json.dumps({**found, **load_all_of_cudnn(), "files": mapped()}))
