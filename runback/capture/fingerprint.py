"""Digest a few fixed sums: machines that agree on them may agree to the bit on a training.

The digests depend on the processor, the libraries' kernels and the number of threads
that they were told to use, as a training does. Nothing is imported, no generator is
used, and every result is thrown away.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from runback.capture import loaded

if TYPE_CHECKING:
    from collections.abc import Callable

# Knuth's multiplicative hash: numbers without a pattern, by exact integer arithmetic.
MULTIPLIER = 2654435761
# Large enough for the kernels of a training: vectors, blocks, more than one thread; and
# small enough that torch makes the numbers themselves in one.
SIDE = 128


def compute() -> dict[str, str]:
    """Return digests by `library.operation`, for the libraries that are loaded.

    TensorFlow only where its context exists: to make it would fix the number of
    threads before the training has set it, and take the GPU's memory.
    """
    found = dict[str, str]()
    # numpy last: the threads of its OpenBLAS spin for a while, and torch's would wait for them.
    for name, sums in (("torch", _torch), ("tensorflow", _tensorflow), ("numpy", _numpy)):
        expected: tuple[type[Exception], ...] = (
            *loaded.UNREADABLE,
            MemoryError,
            *_tensorflow_errors(),
        )
        try:
            digests = sums() if loaded.module(name) else {}
        except expected:
            continue  # half loaded, or of another version: no fingerprint, and no harm
        found |= {f"{name}.{operation}": _digest(data) for operation, data in digests.items()}
    return found


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()[:16]


def _numpy() -> dict[str, bytes]:
    np = loaded.module("numpy")
    matrix, kernel = _array(np, SIDE, SIDE), _array(np, 64)
    exponentials = np.exp(matrix - matrix.max(axis=1, keepdims=True))
    results = {
        "matmul": matrix @ matrix.T[:, ::-1],
        "convolution": np.convolve(matrix.ravel()[:8192], kernel),
        "softmax": exponentials / exponentials.sum(axis=1, keepdims=True),
    }
    return {name: result.tobytes() for name, result in results.items()}


def _array(np: Any, *shape: int) -> Any:
    """Return float32 numbers from -0.5 to 0.5, the same on every machine."""
    size = int(np.prod(shape))
    integers = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(MULTIPLIER) % np.uint64(2**32)
    return (integers / 2.0**32 - 0.5).astype(np.float32).reshape(shape)


def _torch() -> dict[str, bytes]:
    torch = loaded.module("torch")
    # A training on the main thread may be inside of these; they are a thread's own.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        matrix = _tensor(torch, SIDE, SIDE)
        images, kernels = _tensor(torch, 1, 16, 32, 32), _tensor(torch, 32, 16, 3, 3)
        results = {
            "matmul": torch.matmul(matrix, matrix.T),
            "convolution": torch.nn.functional.conv2d(images, kernels, padding=1),
            "softmax": torch.softmax(matrix, dim=1),
        }
        return {name: _torch_bytes(result) for name, result in results.items()}


def _tensor(torch: Any, *shape: int) -> Any:
    size = 1
    for length in shape:
        size *= length
    # The device is named: torch.set_default_device("cuda") would open a context.
    index = torch.arange(1, size + 1, dtype=torch.int64, device="cpu")
    numbers = (index * MULTIPLIER % 2**32).to(torch.float64) / 2.0**32 - 0.5
    return numbers.to(torch.float32).reshape(shape)


def _torch_bytes(tensor: Any) -> bytes:
    import ctypes

    whole = tensor.contiguous()  # kept in a name: it owns the memory that is read
    return ctypes.string_at(whole.data_ptr(), whole.numel() * whole.element_size())


def _tensorflow() -> dict[str, bytes]:
    tf, np = loaded.module("tensorflow"), loaded.module("numpy")
    context = loaded.read("tensorflow.python.eager.context", "_context")
    # In a function that is being traced, sums become nodes of the user's graph.
    if not getattr(context, "_initialized", False) or not tf.executing_eagerly() or np is None:
        return {}
    with tf.device("CPU:0"):
        matrix = tf.constant(_array(np, SIDE, SIDE))
        images, kernels = _array(np, 1, 32, 32, 16), _array(np, 3, 3, 16, 32)
        raw: Callable[..., Any] = tf.raw_ops.Conv2D
        results = {
            "matmul": tf.raw_ops.MatMul(a=matrix, b=matrix, transpose_b=True),
            "convolution": raw(input=images, filter=kernels, strides=[1] * 4, padding="SAME"),
            "softmax": tf.raw_ops.Softmax(logits=matrix),
        }
        return {name: result.numpy().tobytes() for name, result in results.items()}


def _tensorflow_errors() -> tuple[type[Exception], ...]:
    error = loaded.read("tensorflow.python.framework.errors_impl", "OpError")
    return (error,) if isinstance(error, type) else ()
