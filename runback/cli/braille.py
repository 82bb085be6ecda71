"""Draw lines and dots with characters: two by four dots of Braille in each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDE, HIGH = 2, 4
_BLANK = 0x2800
# Unicode's numbering of the dots, by row and column.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass
class Canvas:
    """A picture of `columns` x `rows` characters; y grows upwards, from 0 to 1, and x to the right.

    A character belongs to what was drawn on it last.
    """

    columns: int
    rows: int
    bits: dict[tuple[int, int], int] = field(default_factory=dict)
    marks: dict[tuple[int, int], str] = field(default_factory=dict)
    owners: dict[tuple[int, int], int] = field(default_factory=dict)

    def line(self, points: Iterable[tuple[float, float]], owner: int) -> None:
        """Draw a line through the points; NaN breaks it."""
        before: tuple[int, int] | None = None
        for x, y in points:
            if math.isnan(x) or math.isnan(y):
                before = None
                continue
            here = self._dot_at(x, y)
            self._connect(before or here, here, owner)
            before = here

    def dots(self, points: Iterable[tuple[float, float]], owner: int) -> None:
        """Draw each point as a character."""
        for x, y in points:
            column, row = self._dot_at(x, y)
            cell = (column // WIDE, row // HIGH)
            self.marks[cell], self.owners[cell] = "●", owner

    def cell(self, column: int, row: int) -> tuple[str, int | None]:
        """Return the character, and whose it is; a blank is nobody's."""
        cell = (column, row)
        drawn = chr(_BLANK + self.bits[cell]) if cell in self.bits else " "
        return self.marks.get(cell, drawn), self.owners.get(cell)

    @property
    def _width(self) -> int:
        return self.columns * WIDE - 1

    @property
    def _height(self) -> int:
        return self.rows * HIGH - 1

    def _dot_at(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self._width), self._height - round(y * self._height)

    def _connect(self, start: tuple[int, int], end: tuple[int, int], owner: int) -> None:
        dx, dy = end[0] - start[0], end[1] - start[1]
        count = max(abs(dx), abs(dy), 1)
        for k in range(count + 1):
            self._set(start[0] + round(dx * k / count), start[1] + round(dy * k / count), owner)

    def _set(self, x: int, y: int, owner: int) -> None:
        cell = (x // WIDE, y // HIGH)
        self.bits[cell] = self.bits.get(cell, 0) | _BITS[y % HIGH][x % WIDE]
        self.owners[cell] = owner
