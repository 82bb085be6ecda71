"""Take the fixed sums of a fingerprint in a process of its own, with a training's threads."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from runback.capture import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence


def numerics(libraries: Sequence[str], threads: int = 0) -> dict[str, str]:
    """Return the digests of the libraries that can be imported; threads: of torch, if not 0."""
    for name in libraries:
        try:
            found: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "torch" and threads:
            found.set_num_threads(threads)
        if name == "tensorflow":
            found.constant(0.0)  # makes its context, without which no sum is taken
    return fingerprint.compute()
