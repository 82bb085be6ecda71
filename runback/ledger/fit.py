"""Note one fit: its beginning, its steps if that is asked for, the ends of its epochs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from runback.capture import ledger as capture
from runback.capture import loaded
from runback.record.ledger import BEGIN, EPOCH, STEP, Line

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = itertools.count()
# Who noted the beginning of a model's latest fit, and where that model then was.
_BEGUN: WeakKeyDictionary[Any, tuple[object, object]] = WeakKeyDictionary()


def is_noted(model: Any, owner: object, place: object) -> bool:
    """Say whether another one notes the fit of this model that begins here; if not, note who does.

    Two callbacks of one fit are told of its beginning one after the other, with the
    model at the same place.
    """
    noted_by, noted_at = _BEGUN.get(model, (owner, None))
    if noted_by is not owner and noted_at == place:
        return True
    _BEGUN[model] = (owner, place)
    return False


class Fit:
    """Notes the moments of one fit, until something cannot be looked at: then no more.

    look: returns what every line has (fields of `Line`). A failure is said once and kept
    for the record: the training goes on.
    """

    def __init__(self, look: Callable[[], dict[str, Any]]) -> None:
        self._number = next(_NUMBERS)
        self._look = look
        self._has_stopped = False

    def begin(self, epoch: int, more: Callable[[], dict[str, Any]] = dict) -> None:
        """Note the state before the first step. more: returns further fields."""
        self._note(BEGIN, epoch, 0, more)

    def step(self, epoch: int, step: int | None, more: Callable[[], dict[str, Any]] = dict) -> None:
        self._note(STEP, epoch, step, more)

    def epoch(
        self, epoch: int, step: int | None, more: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self._note(EPOCH, epoch, step, more)

    def _note(
        self, at: str, epoch: int, step: int | None, more: Callable[[], dict[str, Any]]
    ) -> None:
        if self._has_stopped:
            return
        try:
            line = Line(at, self._number, epoch, step, **self._look(), **more())
            capture.QUEUE.note(line)
        except expected() as error:
            self._has_stopped = True
            capture.QUEUE.stop(f"{type(error).__name__}: {error}"[:300])


def expected() -> tuple[type[Exception], ...]:
    """Return what a framework raises where a tensor is gone, moved, or not ready."""
    error = loaded.read("tensorflow.python.framework.errors_impl", "OpError")
    return (*loaded.UNREADABLE, MemoryError, *((error,) if isinstance(error, type) else ()))


def readable(look: Callable[[], Any]) -> Any:
    """Return what can be looked at, None where it cannot: a field that is absent then."""
    try:
        return look()
    except expected():
        return None
