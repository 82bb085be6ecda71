"""Make a training repeatable to the bit, and read every switch back.

The one place for seeds, thread counts and deterministic kernels. A switch that is
set and silently has no effect is worse than none (mlf-core assigned to TensorFlow's
thread functions instead of calling them), so each is read back from the framework.

    prepare(threads=1)                 # before a framework is imported
    switches = seed_keras(42, threads=1)
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from runback.errors import DeterminismError

if TYPE_CHECKING:
    from collections.abc import Mapping

Switches = dict[str, str | int | bool | None]


def prepare(threads: int) -> None:
    """Set what the frameworks read at their import.

    Too late after it: reading back finds that (mlflow.keras imports TensorFlow).
    """
    os.environ.update(
        {
            "OMP_NUM_THREADS": str(threads),
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": str(threads),
            # By itself TensorFlow takes oneDNN or Eigen, by the processor: other bits.
            "TF_ENABLE_ONEDNN_OPTS": "0",
            # On several streams, cuBLAS repeats itself with a fixed workspace only
            # (NVIDIA cuBLAS, 2.1.4).
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        }
    )


def seed_keras(seed: int, threads: int) -> Switches:
    """Seed Python, numpy and Keras's backend, switch it to repeatable kernels, read it back.

    Raises DeterminismError naming each switch that did not take.
    """
    import keras

    wanted = _seed_common(seed)
    if keras.backend.backend() == "tensorflow":
        wanted |= _seed_tensorflow(seed, threads)
        return _checked(wanted, _read_common(seed) | _read_tensorflow())
    wanted |= _seed_torch(seed, threads)
    return _checked(wanted, _read_common(seed) | _read_torch())


def seed_lightning(seed: int, threads: int) -> Switches:
    """Seed Python, numpy, torch and Lightning's data-loader workers, and read it back.

    Raises DeterminismError naming each switch that did not take.
    """
    import logging

    logging.getLogger("lightning_fabric.utilities.seed").setLevel(logging.WARNING)
    from pytorch_lightning import seed_everything

    seed_everything(seed, workers=True)
    wanted = _seed_common(seed) | _seed_torch(seed, threads)
    return _checked(wanted, _read_common(seed) | _read_torch())


def seed_torch(seed: int, threads: int) -> Switches:
    """Seed Python, numpy and torch for a loop of one's own, and read it back.

    Raises DeterminismError naming each switch that did not take.
    """
    wanted = _seed_common(seed) | _seed_torch(seed, threads)
    return _checked(wanted, _read_common(seed) | _read_torch())


def _seed_common(seed: int) -> Switches:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    return {"python_seed": seed, "numpy_seed": seed}


def _read_common(seed: int) -> Switches:
    """Read the generators back: the state of a fresh one with this seed, or None."""
    import numpy as np

    now = np.random.get_state(legacy=False)["state"]
    fresh = np.random.RandomState(seed).get_state(legacy=False)["state"]
    numpy_is_fresh = now["pos"] == fresh["pos"] and np.array_equal(now["key"], fresh["key"])
    return {
        "python_seed": seed if random.getstate() == random.Random(seed).getstate() else None,
        "numpy_seed": seed if numpy_is_fresh else None,
        # Python reads this at its start; run_script.bash sets it. Recorded, not demanded.
        "python_hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
    }


def _seed_tensorflow(seed: int, threads: int) -> Switches:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    _set_tensorflow_threads(tf, threads)
    tf.config.experimental.enable_op_determinism()
    return {
        "keras_seed": seed,
        "tensorflow_seed": seed,
        "tensorflow_deterministic": True,
        "tensorflow_threads": threads,
        "tensorflow_onednn": False,
    }


def _set_tensorflow_threads(tf: object, threads: int) -> None:
    threading = tf.config.threading  # type: ignore[attr-defined]
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        # TensorFlow has started: the counts stand, and reading them back tells.
        pass


def _read_tensorflow() -> Switches:
    import keras
    import tensorflow as tf
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config
    from tensorflow.python.util import _pywrap_util_port

    return {
        "keras_seed": keras.src.utils.rng_utils.get_random_seed(),
        "tensorflow_seed": context.global_seed(),
        "tensorflow_deterministic": config.is_op_determinism_enabled(),
        "tensorflow_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        # What TensorFlow took at its import, not what the variable says now.
        "tensorflow_onednn": _pywrap_util_port.IsMklEnabled(),
        "tensorflow_tf32": config.tensor_float_32_execution_enabled(),
    }


def _seed_torch(seed: int, threads: int) -> Switches:
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    return {
        "torch_seed": seed,
        "torch_threads": threads,
        "torch_deterministic": True,
        "cudnn_benchmark": False,
        "cublas_workspace": os.environ["CUBLAS_WORKSPACE_CONFIG"],
    }


def _read_torch() -> Switches:
    import torch

    return {
        "torch_seed": torch.initial_seed(),
        "torch_threads": torch.get_num_threads(),
        "torch_deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "torch_tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "torch_tf32_cudnn": torch.backends.cudnn.allow_tf32,
    }


def _checked(wanted: Mapping[str, object], found: Switches) -> Switches:
    """Return the switches as read back. Raises DeterminismError where they are not as wanted."""
    wrong = [
        f"{name} ({value!r}, found {found.get(name)!r})"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if wrong:
        raise DeterminismError(wrong)
    return found
