"""The states of the global random generators, as JSON: kept in a checkpoint, and taken up again.

A training that goes on from a checkpoint ends with the same bits only if its generators
go on too. What a model's file lacks of them is here: Python's, numpy's and torch's.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from runback.errors import RunbackError


def states() -> dict[str, Any]:
    """Return the states of those that are loaded; nothing is drawn from them."""
    version, numbers, gauss = random.getstate()
    found: dict[str, Any] = {"python": [version, list(numbers), gauss]}
    if "numpy" in sys.modules:
        found["numpy"] = _numpy_state()
    if "torch" in sys.modules:
        import torch

        found["torch"] = torch.get_rng_state().numpy().tobytes().hex()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            found["cuda"] = [s.numpy().tobytes().hex() for s in torch.cuda.get_rng_state_all()]
    return found


def restore(kept: dict[str, Any]) -> None:
    """Put the generators into the states that were kept. Raises RunbackError: they are none."""
    try:
        version, numbers, gauss = kept["python"]
        random.setstate((version, tuple(numbers), gauss))
        if known := kept.get("numpy"):
            _set_numpy(known)
        if "torch" in kept:
            _set_torch(kept)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunbackError(f"the checkpoint's states of generators are none: {error}") from error


def _numpy_state() -> dict[str, Any] | None:
    import numpy as np

    state: Any = np.random.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        return None  # somebody put another in its place
    numbers = {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}
    return {**state, "state": numbers, "has_gauss": int(state["has_gauss"])}


def _set_numpy(known: dict[str, Any]) -> None:
    import numpy as np

    key = np.asarray(known["state"]["key"], dtype=np.uint32)
    np.random.set_state({**known, "state": {**known["state"], "key": key}})


def _set_torch(kept: dict[str, Any]) -> None:
    import torch

    def tensor(text: str) -> Any:
        return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)

    torch.set_rng_state(tensor(kept["torch"]))
    if "cuda" in kept and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([tensor(text) for text in kept["cuda"]])
