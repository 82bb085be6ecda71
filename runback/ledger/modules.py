"""Digest torch modules and optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.ledger import generators
from runback.ledger.tensors import by_name, digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def look(modules: Sequence[Any]) -> dict[str, Any]:
    """Return what every line has: weights and buffers by name, and the generators."""
    tensors = (pair for number, module in enumerate(modules) for pair in _named(module, number))
    return {"weights": by_name(tensors), "random": generators.states()}


def _named(module: Any, number: int) -> Iterator[tuple[str, Any]]:
    """Yield parameters and buffers; those of the second model and later with its number."""
    from torch.nn.parameter import is_lazy

    for found in (module.named_parameters(), module.named_buffers()):
        for name, tensor in found:
            if not is_lazy(tensor):  # it has a shape from the first batch on
                yield f"{number}/{name}" if number else name, tensor


def optimizer_digest(optimizers: Sequence[Any]) -> str:
    """Return the digest of what the optimizers keep from step to step, rates included."""
    return digest([optimizer.state_dict() for optimizer in optimizers])
