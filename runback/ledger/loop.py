"""The ledger of a plain PyTorch loop: `for epoch in runback.epochs(10, model, optimizer):`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from runback.capture import loaded
from runback.capture.ledger import OFF, level
from runback.errors import RunbackError
from runback.ledger.fit import Fit, readable
from runback.ledger.modules import look, optimizer_digest
from runback.ledger.tensors import digest
from runback.record.ledger import ALL, LAST, STEP


class WrongEpochs(RunbackError, TypeError):
    exit_status = 2

    def __init__(self, what: object) -> None:
        text = f"{what!r}"[:60]
        super().__init__(
            f"epochs() was given {text} ({type(what).__name__})",
            "for epoch in runback.epochs(10, model, optimizer):   # or range(5, 10)",
        )


def epochs(count: int | Iterable[int], *watched: Any) -> Iterator[int]:
    """Yield the numbers of the epochs, and note the ledger of the training between them.

    count: how many, from 0, or their numbers (`range(5, 10)`). watched: torch modules and
    optimizers: weights, batches and steps are theirs. Nothing of the training is changed:
    they are looked at through torch's hooks, which are gone when the loop ends. Of
    several processes, the first notes. Raises WrongEpochs, before the first epoch.
    """
    numbers = range(count) if isinstance(count, int) else count
    if not isinstance(numbers, Iterable):
        raise WrongEpochs(numbers)
    modules = [each for each in watched if hasattr(each, "named_parameters")]
    optimizers = [each for each in watched if hasattr(each, "register_step_post_hook")]
    for each in watched:
        if each not in (*modules, *optimizers):
            raise WrongEpochs(each)
    if level() == OFF or not _is_first():
        return iter(numbers)
    return _noted(numbers, _Loop(modules, optimizers))


def _is_first() -> bool:
    group = "torch.distributed"
    return not loaded.call(group, "is_initialized") or loaded.call(group, "get_rank") == 0


def _noted(numbers: Iterable[int], loop: _Loop) -> Iterator[int]:
    is_first = True
    try:
        for number in numbers:
            loop.begin(number, is_first)
            is_first = False
            yield number
            loop.end(number)
    except GeneratorExit:  # a break; or the interpreter's end, when nothing is there any more
        if not sys.is_finalizing():
            loop.end(number)
        raise
    finally:
        loop.remove()


class _Loop:
    """Sees batches and steps of one loop through torch's public hooks."""

    def __init__(self, modules: list[Any], optimizers: list[Any]) -> None:
        self._modules, self._optimizers = modules, optimizers
        self._has_steps = level() == STEP
        self._epoch = self._steps = 0
        self._batches: list[Any] = []
        self._fit = Fit(lambda: look(modules))
        self._hooks = [each.register_step_post_hook(self._on_step) for each in optimizers]
        self._hooks += [
            each.register_forward_pre_hook(self._on_batch, with_kwargs=True) for each in modules
        ]

    def begin(self, epoch: int, is_first: bool) -> None:
        self._epoch = epoch
        if is_first:
            state = readable(lambda: optimizer_digest(self._optimizers))
            self._fit.begin(epoch, lambda: {"optimizer": state} if self._optimizers else {})

    def end(self, epoch: int) -> None:
        batches, self._batches = self._batches, []
        steps = self._steps if self._optimizers else None
        self._fit.epoch(epoch, steps, lambda: {} if self._has_steps else _last(batches))

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _on_batch(self, module: Any, arguments: Any, named: Any) -> None:
        if not module.training or _is_compiling():
            return
        batch = [arguments, named]
        if self._has_steps:
            self._batches.append(readable(lambda: digest(batch)))
        else:
            self._batches = [batch]  # its digest is taken at the end of the epoch

    def _on_step(self, optimizer: Any, arguments: Any, named: Any) -> None:
        self._steps += 1
        if self._has_steps and not _is_compiling():
            batches, self._batches = self._batches, []
            self._fit.step(self._epoch, self._steps, lambda: _all(batches))


def _is_compiling() -> bool:
    """Say whether torch is turning this code into a graph: then it must not become part of it."""
    import torch

    return bool(torch.compiler.is_compiling())


def _last(batches: list[Any]) -> dict[str, Any]:
    found = readable(lambda: digest(batches[-1])) if batches else None
    return {"batch": found, "batches": LAST} if found else {}


def _all(batches: list[Any]) -> dict[str, Any]:
    if not batches or None in batches:
        return {}
    return {"batch": batches[0] if len(batches) == 1 else digest(batches), "batches": ALL}
