"""What a check found, and what helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A trap that is set. about: its kind, in a word. hint: a command that helps."""

    about: str
    text: str
    hint: str
