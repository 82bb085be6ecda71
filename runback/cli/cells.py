"""Word the values that `runback diff` compares, on a terminal and in lines alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.cli.shared import show_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.runs.diff import Diff, Row

ABSENT, UNKNOWN = "-", "?"


def named(parts: Sequence[str]) -> str:
    """Name parts of a section; none if it is the section itself that is missing."""
    return ", ".join(parts) if all(parts) else ""


def cells(row: Row) -> list[str]:
    """Return a row's values in words: of a run that has none, and of one that is not known, too."""
    return [
        UNKNOWN if at in row.unknown else ABSENT if value is None else word(value)
        for at, value in enumerate(row.values)
    ]


def word(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def say_left_out(found: Diff) -> None:
    """Name on stderr what no snapshot has, so that nobody takes it for equal."""
    names = list(dict.fromkeys(name for section in found.sections for name in section.left_out))
    show_first("in no snapshot, not compared", names, " (--json lists all)", err=True)
