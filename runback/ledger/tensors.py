"""Digest tensors and batches of any framework where they lie; nothing is drawn or changed.

A digest is the first 16 hex characters of the sha256 of dtype, shape and bytes in C order,
so that -0.0 and 0.0 differ, and NaN equals itself.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HEX = 16


def digest(value: Any) -> str:
    """Return the digest of a tensor, an array, or a batch: nested lists, dicts and numbers.

    Raises TypeError where something in it has no bytes of its own (an object).
    """
    whole = hashlib.sha256()
    _add(whole, value)
    return whole.hexdigest()[:HEX]


def by_name(tensors: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return the digest of each tensor. The second of a name has `#2` behind it."""
    found, seen = dict[str, str](), Counter[str]()
    for name, tensor in tensors:
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name}#{seen[name]}"] = digest(tensor)
    return found


def _add(whole: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        whole.update(f"dict {len(value)}\0".encode())
        for key in value:
            _add(whole, key)
            _add(whole, value[key])
    elif isinstance(value, list | tuple):
        whole.update(f"list {len(value)}\0".encode())
        for part in value:
            _add(whole, part)
    elif isinstance(value, float):
        whole.update(b"float\0" + struct.pack("<d", value))
    elif isinstance(value, str | bytes | int | None):
        text = value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
        whole.update(f"{type(value).__name__} {len(text)}\0".encode() + text)
    else:
        _add_array(whole, value)


def _add_array(whole: Any, value: Any) -> None:
    word, shape, content = _of_torch(value) if hasattr(value, "detach") else _of_numpy(value)
    whole.update(f"{word}\0{shape}\0".encode())
    whole.update(content)


def _of_torch(value: Any) -> tuple[str, tuple[int, ...], Any]:
    import torch

    plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
    # As bytes: numpy has no bfloat16.
    content = plain.reshape(-1).view(torch.uint8).numpy()
    return str(plain.dtype).removeprefix("torch."), tuple(plain.shape), content


def _of_numpy(value: Any) -> tuple[str, tuple[int, ...], Any]:
    import numpy as np

    # TensorFlow's tensors and Keras's variables have a `numpy` of their own.
    array = value.numpy() if callable(getattr(value, "numpy", None)) else value
    if not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
        raise TypeError(f"{type(value).__name__} has no bytes to digest")
    array = np.asarray(array)
    plain = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return array.dtype.name, array.shape, plain
