"""Word charts for a terminal: axes, curves and a legend, fitted to its width and height."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import click

from runback.cli.braille import Canvas
from runback.cli.table import flat
from runback.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.runs.cloud import Cloud
    from runback.runs.curves import Chart

COLOURS = ("blue", "yellow", "green", "magenta", "cyan", "red")
# Letters stand in for colours.
LETTERS = string.ascii_lowercase + string.ascii_uppercase
LOWEST, HIGHEST = 6, 20
NARROWEST = 20
AROUND = 3  # title, axis, its labels
GAP = "  "


@dataclass(frozen=True)
class Screen:
    """What there is room for, in characters. in_colour: if not, letters tell curves apart."""

    width: int
    height: int
    in_colour: bool = False


@dataclass(frozen=True)
class Line:
    """Points with a name. is_line: connected."""

    name: str
    points: list[tuple[float, float]]
    is_line: bool = True


@dataclass(frozen=True)
class Axes:
    """Lines in the same axes. is_log_x, is_log_y: of scales. ticks: names of 0, 1, 2 … on x."""

    title: str
    x_label: str
    lines: list[Line]
    is_log_x: bool = False
    is_log_y: bool = False
    ticks: Sequence[str] = ()


def curves(chart: Chart, screen: Screen) -> list[str]:
    """Return the lines of a chart: its panels below one another."""
    several = len(chart.runs) > 1
    found = [] if several else [_cut(f"{chart.runs[0].short_id}  {chart.runs[0].name}", screen)]
    legends = sum(len(panel.curves) for panel in chart.panels if len(panel.curves) > 1)
    room = (screen.height - 2 - len(found) - legends) // max(1, len(chart.panels)) - AROUND
    for panel in chart.panels:
        single = len(panel.metrics) == 1
        lines = []
        for curve in panel.curves:
            name = f"{curve.run.short_id}  {curve.run.name}" if several else ""
            name += "" if single and several else f"{GAP if several else ''}{curve.metric}"
            lines.append(Line(name, list(zip(curve.x, curve.y, strict=True))))
        axes = Axes(panel.title, chart.x_label, lines, is_log_y=chart.is_log)
        found += draw(axes, room, screen)
    return found


def scatter(cloud: Cloud, screen: Screen) -> list[str]:
    """Return the lines of a scatter plot."""
    points = sorted((dot.x, dot.y) for dot in cloud.dots)
    line = Line("", points, is_line=False)
    axes = Axes(cloud.metric, cloud.param, [line], cloud.is_log, False, cloud.categories)
    return draw(axes, screen.height - 2 - AROUND, screen)


def draw(axes: Axes, rows: int, screen: Screen) -> list[str]:
    """Return the lines of these axes: a title, so many rows, the x axis, a legend."""
    rows = max(LOWEST, min(rows, HIGHEST))
    x_range = _range([x for line in axes.lines for x, y in line.points if y == y], axes.is_log_x)
    y_range = _range([y for line in axes.lines for x, y in line.points if y == y], axes.is_log_y)
    if x_range is None or y_range is None:
        return [_cut(axes.title, screen), "  nothing to draw", ""]
    labels = {row: _number(y_range.at(1 - row / (rows - 1))) for row in (0, rows // 2, rows - 1)}
    margin = max(map(len, labels.values()))
    canvas = Canvas(max(NARROWEST, screen.width - margin - 2), rows)
    for k, line in reversed(list(enumerate(axes.lines))):
        points = [(x_range.part(x), y_range.part(y)) for x, y in line.points]
        (canvas.line if line.is_line else canvas.dots)(points, k)
    paint = _Paint(screen.in_colour, len(axes.lines) > 1)
    return [
        paint.bold(_cut(axes.title, screen)),
        *(
            f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}"
            + paint.row([canvas.cell(column, row) for column in range(canvas.columns)])
            for row in range(rows)
        ),
        f"{'':{margin}} └{'─' * canvas.columns}",
        f"{'':{margin}}  {_below(axes, x_range, canvas.columns)}",
        *(paint.legend([_cut(line.name, screen, 2) for line in axes.lines])),
    ]


@dataclass(frozen=True)
class _Paint:
    in_colour: bool
    several: bool

    def row(self, cells: Sequence[tuple[str, int | None]]) -> str:
        """Return a row of a canvas."""
        found = ""
        for owner, group in groupby(cells, key=lambda cell: cell[1]):
            text = "".join(character for character, _ in group)
            found += text if owner is None else self._owned(text, owner)
        return found.rstrip()

    def legend(self, names: Sequence[str]) -> list[str]:
        """Return a line for each of several lines."""
        if not self.several:
            return []
        return [f"{self._owned('━', owner)} {name}" for owner, name in enumerate(names)]

    def bold(self, text: str) -> str:
        return click.style(text, bold=True) if self.in_colour else text

    def _owned(self, text: str, owner: int) -> str:
        if self.in_colour:
            return click.style(text, fg=COLOURS[owner % len(COLOURS)])
        return LETTERS[owner % len(LETTERS)] * len(text) if self.several else text


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    is_log: bool

    def part(self, value: float) -> float:
        """Return where a value lies: 0 is the lower end, 1 the upper one."""
        if math.isnan(value):
            return value
        found = math.log10(value) if self.is_log else value
        return (found - self.low) / (self.high - self.low)

    def at(self, part: float) -> float:
        found = self.low + (self.high - self.low) * part
        return 10.0**found if self.is_log else found


def _range(values: list[float], is_log: bool) -> _Range | None:
    if not values:
        return None
    low, high = min(values), max(values)
    if is_log:
        low, high = math.log10(low), math.log10(high)
    if low == high:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    return _Range(low, high, is_log)


def _below(axes: Axes, x_range: _Range, width: int) -> str:
    """Return the labels of the x axis: both ends, and what it is."""
    low, high = _number(x_range.at(0)), _number(x_range.at(1))
    if axes.ticks:
        low, high = axes.ticks[0], axes.ticks[-1]
        if len(axes.ticks) > 2:
            low = ", ".join(axes.ticks)
            high = ""
    label = axes.x_label
    middle = f"{label:^{max(0, width - len(low) - len(high))}}"
    return printable(f"{low}{middle}{high}")[:width].rstrip()


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"


def _cut(text: str, screen: Screen, indent: int = 0) -> str:
    """Return a text from anywhere as one line that fits."""
    text = flat(text)
    room = max(NARROWEST, screen.width) - indent
    return text if len(text) <= room else f"{text[: room - 1]}…"
