"""Print what strangers named."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal: names of runs and files come from anywhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
