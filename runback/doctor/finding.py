"""What a check found, and what helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Finding:
    """A trap that is set. about: its kind, in a word. hint: a command that helps."""

    about: str
    text: str
    hint: str


def few(names: Sequence[str]) -> str:
    """Word a list by its first three."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
