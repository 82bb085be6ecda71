"""Read back what a run's repeatability hangs on: seeds, generators, determinism switches."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from typing import Any

from runback.capture import loaded

VARIABLES = (
    *("PYTHONHASHSEED", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "XLA_FLAGS"),
    *("TF_ENABLE_ONEDNN_OPTS", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
    *("NCCL_ALGO", "NCCL_PROTO", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "OMP_NUM_THREADS"),
)
# Field: where it is read. Functions among them are called; none starts a device.
TORCH = {
    "initial_seed": "initial_seed",
    "deterministic_algorithms": "are_deterministic_algorithms_enabled",
    "cudnn_deterministic": "backends.cudnn.deterministic",
    "cudnn_benchmark": "backends.cudnn.benchmark",
    "matmul_precision": "get_float32_matmul_precision",
    "default_dtype": "get_default_dtype",
    "threads": "get_num_threads",
    "interop_threads": "get_num_interop_threads",
}
# Field: where torch 2.9 and later tell it, where they told it before. The old getters
# warn there, or raise once a training has used the new names.
TF32 = {
    "matmul_allow_tf32": ("backends.cuda.matmul.fp32_precision", "backends.cuda.matmul.allow_tf32"),
    "cudnn_allow_tf32": ("backends.cudnn.conv.fp32_precision", "backends.cudnn.allow_tf32"),
}


def describe() -> dict[str, Any]:
    """Return seeds and switches of what is loaded now, and digests of the generators' states.

    Reads only: a state that is digested is the state that the training goes on with.
    """
    facts: dict[str, Any] = {
        "hash_randomization": bool(sys.flags.hash_randomization),
        "environ": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "python_state": _digest(random.getstate()),
        "numpy_state": _numpy_state(),
        "torch": _torch(),
        "tensorflow": _tensorflow(),
        "keras": _keras(),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _numpy_state() -> str | None:
    """Return the digest of numpy's global generator, whichever bit generator it has."""
    function = loaded.read("numpy.random", "get_state") if loaded.module("numpy") else None
    if function is None:
        return None
    try:
        return _digest(_without_arrays(function(legacy=False)))
    except loaded.UNREADABLE:
        return None


def _without_arrays(value: Any) -> Any:
    """Return a state with the bytes of its arrays: their repr is shortened."""
    if isinstance(value, dict):
        return [(name, _without_arrays(value[name])) for name in sorted(value)]
    return value.tobytes().hex() if hasattr(value, "tobytes") else value


def _torch() -> dict[str, Any] | None:
    if not loaded.module("torch"):
        return None
    facts = _fields("torch", TORCH)
    for field, (new, old) in TF32.items():
        precision = loaded.read("torch", new)
        allowed = loaded.read("torch", old) if precision is None else precision == "tf32"
        facts |= {} if allowed is None else {field: bool(allowed)}
    return facts


def _tensorflow() -> dict[str, Any] | None:
    """Return TensorFlow's switches without making its context.

    The public getters of the thread counts look for GPUs; the context's own fields do not.
    """
    if not loaded.module("tensorflow"):
        return None
    config, context = "tensorflow.python.framework.config", "tensorflow.python.eager.context"
    facts = {
        "deterministic": loaded.call(config, "is_op_determinism_enabled"),
        "tf32": loaded.call(config, "tensor_float_32_execution_enabled"),
        "onednn": loaded.call("tensorflow.python.util._pywrap_util_port", "IsMklEnabled"),
        "seed": loaded.read(context, "_context._seed"),
        "intra_op_threads": loaded.read(context, "_context._intra_op_parallelism_threads"),
        "inter_op_threads": loaded.read(context, "_context._inter_op_parallelism_threads"),
        "initialized": bool(loaded.read(context, "_context._initialized")),
    }
    return {name: loaded.plain(value) for name, value in facts.items() if value is not None}


def _keras() -> dict[str, Any] | None:
    fields = {
        "backend": "backend.backend",
        "floatx": "backend.floatx",
        "seed": "src.utils.rng_utils.get_random_seed",
    }
    return _fields("keras", fields) if loaded.module("keras") else None


def _fields(name: str, fields: dict[str, str]) -> dict[str, Any]:
    """Return the fields that can be read: attributes, or functions without arguments."""
    found = dict[str, Any]()
    for field, path in fields.items():
        value = loaded.read(name, path)
        value = loaded.call(name, path) if callable(value) else value
        if value is not None:
            found[field] = loaded.plain(value)
    return found


def _digest(state: object) -> str:
    return "sha256:" + hashlib.sha256(repr(state).encode()).hexdigest()
