"""Digest named tensors, so that two trainings can be compared to the bit.

Files cannot be: a `.keras` file embeds the date it was saved, and archives order
and compress as they like.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def digest_tensors(tensors: Mapping[str, Any]) -> str:
    """Return `sha256:` and hex of the tensors, in the order of their names.

    tensors: arrays by name (numpy, or anything numpy can view: 0-d too). Name, dtype,
    shape and bytes in C order count, so -0.0 and 0.0 differ, and NaN equals itself.
    """
    import numpy as np

    whole = hashlib.sha256()
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        whole.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        whole.update(array.tobytes(order="C"))
    return "sha256:" + whole.hexdigest()
