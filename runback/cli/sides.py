"""Show runs side by side on a terminal, and patches in colour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from runback.cli.cells import cells, named, say_left_out
from runback.cli.table import flat
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runback.runs.diff import Diff, Row

GAP = 2
# Narrower than this, values stand below one another.
NARROWEST = 12
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
        if lines[section.name]:
            console.print(Text(section.name, style="bold"))
        for name, values in lines[section.name]:
            _row(console, found, flat(name), list(map(flat, values)), widths)
    _gaps(console, found)
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


def apart(texts: Sequence[str], width: int) -> list[str]:
    """Return texts as `fitted` does, and where two that differ would look alike, from there on."""
    shown = [fitted(text, width) for text in texts]
    if len(set(shown)) == len(set(texts)):
        return shown
    letters = enumerate(zip(*(text for text in texts if cell_len(text) > width), strict=False))
    start = next((at for at, found in letters if len(set(found)) > 1), 0) - width // 3
    cut = [text[start:] if start > 0 and cell_len(text) > width else "" for text in texts]
    return [fitted(f"…{c}" if c else text, width) for c, text in zip(cut, texts, strict=True)]


def _short(row: Row) -> list[str]:
    """Return values with short digests; of packages whose versions differ, the versions."""
    values = [_DIGEST.sub(r"\1", value) for value in cells(row)]
    versions = [value.partition(" ")[0] for value in values]
    if row.name.startswith("package ") and len(set(versions)) > 1:
        return versions
    return values


def _widths(lines: Sequence[tuple[str, list[str]]], found: Diff, width: int) -> tuple[int, int]:
    """Return the widths of the names and of each run's values; 0 of these: no room beside."""
    longest = max((cell_len(flat(name)) for name, _ in lines), default=0) + GAP
    name = min(longest, max(16, width // 3))
    room = (width - name) // len(found.runs) - GAP
    values = [flat(value) for _, values in lines for value in values]
    names = [flat(run.name) for run in found.runs]
    wanted = max(cell_len(text) for text in (found.runs[0].short_id, *names, *values))
    return (name, min(wanted, room)) if room >= NARROWEST else (width, 0)


def _head(console: Console, found: Diff, widths: tuple[int, int]) -> None:
    ids, names = [run.short_id for run in found.runs], [flat(run.name) for run in found.runs]
    if widths[1]:
        _print(console, ["", *ids], widths, style="bold")
        _print(console, ["", *names], widths, style="bold")
        return
    for run_id, name in zip(ids, names, strict=True):
        console.print(Text(fitted(f"{run_id}  {name}", widths[0]).rstrip(), style="bold"))


def _row(
    console: Console, found: Diff, name: str, values: list[str], widths: tuple[int, int]
) -> None:
    if widths[1]:
        _print(console, [f"{'':{GAP}}{name}", *values], widths)
        return
    console.print(Text(fitted(f"{'':{GAP}}{name}", widths[0]).rstrip()))
    heads = [f"{'':{2 * GAP}}{run.short_id}  " for run in found.runs]
    for head, value in zip(heads, apart(values, widths[0] - len(heads[0])), strict=True):
        console.print(Text((head + value).rstrip()))


def _print(console: Console, words: list[str], widths: tuple[int, int], style: str = "") -> None:
    shown = [fitted(words[0], widths[0]), *apart(words[1:], widths[1])]
    console.print(Text((" " * GAP).join(shown).rstrip(), style=style), soft_wrap=True)


def _gaps(console: Console, found: Diff) -> None:
    """Say what could not be compared; of a run without a record, in one line."""
    missing = dict[tuple[str, str], dict[str, list[str]]]()
    for section in found.sections:
        for gap in section.gaps:
            key = (found.runs[gap.run].short_id, gap.reason)
            missing.setdefault(key, {}).setdefault(section.name, []).append(gap.part)
    for (run_id, reason), sections in missing.items():
        names = [f"{name} {named(parts)}".strip() for name, parts in sections.items()]
        who = "" if run_id in reason else f"{run_id}: "
        text = f"not compared: {', '.join(names)}: {who}{flat(reason)}"
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
