"""Show runs side by side on a terminal, and patches in colour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from runback.cli.diff import cells, flat, say_left_out
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runback.runs.diff import Diff, Row, Section

GAP = 2
# Narrower than this, values stand below one another.
NARROWEST = 10
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")
_PATCH_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def show(found: Diff, everything: bool) -> None:
    """Print the sections that differ, fitted to the width, and name the others."""
    console = Console(highlight=False)
    shown = {
        section.name: [row for row in section.rows if everything or row.differs]
        for section in found.sections
    }
    lines = {name: [(row.name, _short(row)) for row in rows] for name, rows in shown.items()}
    widths = _widths([line for rows in lines.values() for line in rows], found, console.width)
    _head(console, found, widths)
    for section in found.sections:
        if lines[section.name] or section.gaps:
            console.print(Text(section.name, style="bold"))
        for name, values in lines[section.name]:
            _row(console, found, flat(name), list(map(flat, values)), widths)
        _gaps(console, found, section)
    same = [section.name for section in found.sections if section.is_same and section.rows]
    if same:
        console.print(Text(f"the same: {', '.join(same)}", style="dim"))
    say_left_out(found)


def fitted(text: str, width: int) -> str:
    """Return a text in so many cells, its middle left out if it is longer."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    left = set_cell_size(text, width // 2).rstrip()
    right = text
    while right and cell_len(right) > width - cell_len(left) - 1:
        right = right[1:]
    return set_cell_size(f"{left}…{right}", width)


def _short(row: Row) -> list[str]:
    """Return values with short digests; of packages whose versions differ, the versions."""
    values = [_DIGEST.sub(r"\1", value) for value in cells(row)]
    versions = [value.partition(" ")[0] for value in values]
    if row.name.startswith("package ") and len(set(versions)) > 1:
        return versions
    return values


def _widths(lines: Sequence[tuple[str, list[str]]], found: Diff, width: int) -> list[int]:
    """Return the widths of the name and of each run's column; of the name alone if too narrow."""
    count = len(found.runs)
    longest = max((cell_len(flat(name)) for name, _ in lines), default=0) + GAP
    name = min(longest, max(16, width // 3)) + GAP
    room = (width - name) // count - GAP
    if room < NARROWEST:
        return [width]
    columns = [
        max([8, cell_len(flat(run.name)), *(cell_len(flat(values[at])) for _, values in lines)])
        for at, run in enumerate(found.runs)
    ]
    return [name, *(min(column, room) for column in columns)]


def _head(console: Console, found: Diff, widths: list[int]) -> None:
    if len(widths) == 1:
        for run in found.runs:
            console.print(Text(fitted(f"{run.short_id}  {flat(run.name)}", widths[0]).rstrip()))
        return
    for words in ([run.short_id for run in found.runs], [flat(run.name) for run in found.runs]):
        _print(console, ["", *words], widths, style="bold")


def _row(console: Console, found: Diff, name: str, values: list[str], widths: list[int]) -> None:
    if len(widths) > 1:
        _print(console, [f"{'':{GAP}}{name}", *values], widths)
        return
    console.print(Text(fitted(f"  {name}", widths[0]).rstrip()))
    for run, value in zip(found.runs, values, strict=True):
        console.print(Text(fitted(f"    {run.short_id}  {value}", widths[0]).rstrip()))


def _print(console: Console, words: list[str], widths: list[int], style: str = "") -> None:
    gap = " " * GAP
    line = (words[0] and fitted(words[0], widths[0] - GAP)) or " " * (widths[0] - GAP)
    parts = [fitted(word, width) for word, width in zip(words[1:], widths[1:], strict=True)]
    console.print(Text(gap.join([line, *parts]).rstrip(), style=style), soft_wrap=True)


def _gaps(console: Console, found: Diff, section: Section) -> None:
    """Say what of a section could not be compared; a reason that is the same for all of it once."""
    reasons = dict[tuple[int, str], list[str]]()
    for gap in section.gaps:
        reasons.setdefault((gap.run, gap.reason), []).append(gap.part)
    for (at, reason), parts in reasons.items():
        of = f" ({', '.join(part for part in parts)})" if all(parts) else ""
        text = f"  not compared{of}: {found.runs[at].short_id}: {flat(reason)}"
        console.print(Text(text, style="yellow"))


def show_patch(lines: Iterable[bytes]) -> int:
    """Print a patch in colour, and nothing that steers the terminal; return 1 if there is any."""
    console = Console(highlight=False)
    found = 0
    for line in lines:
        found = 1
        text = line.decode("utf-8", "replace").rstrip("\n")
        style = "bold" if text.startswith(("+++ ", "--- ", "diff ")) else ""
        shown = "\t".join(map(printable, text.split("\t")))
        console.print(Text(shown, style=style or _PATCH_STYLES.get(text[:1], "")), soft_wrap=True)
    return found
