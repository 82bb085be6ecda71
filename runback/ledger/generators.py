"""Digest the states of the random generators, without drawing from them or starting a device."""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING, Any

from runback.capture import loaded
from runback.ledger.tensors import digest

if TYPE_CHECKING:
    from collections.abc import Sequence


def states(own: Sequence[Any] = ()) -> dict[str, str]:
    """Return a digest by library, of those that are loaded.

    own: variables of a Keras model that hold the states of its seed generators.
    """
    found = {
        "python": _packed(random.getstate()),
        "numpy": _numpy(),
        "torch": _torch(),
        "cuda": _cuda(),
        "tensorflow": _tensorflow(),
        "keras": [*own, *_keras()] or None,
    }
    return {name: digest(state) for name, state in found.items() if state is not None}


def _numpy() -> Any:
    function = loaded.read("numpy.random", "get_state")
    return function(legacy=False) if function else None


def _torch() -> Any:
    function = loaded.read("torch", "default_generator.get_state")
    return function() if function else None


def _cuda() -> Any:
    if not loaded.call("torch.cuda", "is_initialized"):
        return None
    return [generator.get_state() for generator in loaded.read("torch.cuda", "default_generators")]


def _tensorflow() -> Any:
    """Return the state from which eager operations without a seed of their own draw theirs."""
    function = loaded.read("tensorflow.python.eager.context", "_context._rng.getstate")
    return _packed(function()) if function else None


def _packed(state: Any) -> list[Any]:
    """Return a state of Python's generator with its 625 words in one piece."""
    version, words, spare = state
    return [version, array("Q", words).tobytes(), spare]


def _keras() -> list[Any]:
    """Return the state of Keras's global seed generator, if something has used it."""
    find = loaded.read("keras.src.backend.common.global_state", "get_global_attribute")
    generator = find("global_seed_generator") if find else None
    return [] if generator is None else [generator.state.value]
