"""Print a table: fitted to a terminal, or as lines with tabs for other programs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.cli.shared import is_terminal
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GAP = 2
WIDEST = 40
ROOM_OF_NOTE = len("no room for: ")
STYLES = {
    "RUNNING": "green",
    "FAILED": "red",
    "KILLED": "yellow",
    "LOST": "yellow",
    "identical": "green",
    "different": "red",
}


@dataclass(frozen=True)
class Column:
    """A column. rank: the higher, the sooner it is left out of a narrow terminal; 0 never is."""

    name: str
    cells: Sequence[str]
    rank: int = 0
    is_number: bool = False
    widest: int = WIDEST

    @property
    def width(self) -> int:
        return min(self.widest, max([len(self.name), *map(len, self.cells)]))


def show(
    columns: Sequence[Column],
    note: Callable[[str], None] | None = None,
    indent: int = 0,
    heading: bool = True,
) -> None:
    """Print the columns side by side; nothing on a terminal if there are no rows.

    note: told on a terminal which columns it has no room for.
    """
    if is_terminal():
        if columns[0].cells:
            _fitted(columns, note, indent, heading)
    else:
        names = "\t".join(flat(column.name) for column in columns)
        rows = zip(*(_all_flat(column.cells) for column in columns), strict=True)
        sys.stdout.write("\n".join([names, *map("\t".join, rows)]) + "\n")


def _all_flat(cells: Sequence[str]) -> Sequence[str]:
    # Asked of all at once: ten thousand cells of a column are nearly always printable.
    return cells if "".join(cells).isprintable() else [flat(cell) for cell in cells]


def flat(text: str) -> str:
    """Return a text as one field of a line."""
    if text.isprintable():
        return text
    return printable(text).replace("\n", "\\n")


def _fitted(
    columns: Sequence[Column], note: Callable[[str], None] | None, indent: int, heading: bool
) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    kept = fitting(columns, console.width - indent)
    table = Table(
        box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold", show_header=heading
    )
    for column in kept:
        table.add_column(
            flat(column.name),
            no_wrap=True,
            overflow="ellipsis",
            max_width=column.width,
            justify="right" if column.is_number else "left",
        )
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*(Text(flat(cell), style=STYLES.get(cell, "")) for cell in row))
    console.print(Padding(table, (0, 0, 0, indent)))
    left_out = [column.name for column in columns if column not in kept]
    if left_out and note:
        note(some(list(map(flat, left_out)), console.width))


def some(names: Sequence[str], width: int) -> str:
    """Return the names that a line has room for, and how many more there are."""
    shown = list(names)
    while len(text := _listed(shown, len(names))) > width - ROOM_OF_NOTE and len(shown) > 1:
        shown.pop()
    return text


def _listed(shown: Sequence[str], total: int) -> str:
    more = f" and {total - len(shown)} more" if len(shown) < total else ""
    return ", ".join(shown) + more


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that a terminal has room for: those of the lowest ranks."""
    kept = list(columns)
    while sum(column.width + GAP for column in kept) - GAP > width:
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            break
        kept = [column for column in kept if column is not last]
    return kept


def pairs(rows: Sequence[tuple[str, str]], indent: int = 0, style: str = "") -> None:
    """Print names and values on a terminal, values folded below themselves."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    if rows:
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=WIDEST)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(flat(name), style), Text(flat(value), style))
        Console(highlight=False).print(Padding(table, (0, 0, 0, indent)))


def dim(text: str) -> None:
    """Print a remark below a table, to the person at the terminal."""
    if is_terminal():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False).print(Text(printable(text), style="dim"))
