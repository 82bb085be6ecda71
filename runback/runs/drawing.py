"""Draw learning curves and scatter plots with matplotlib, without its global state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.runs.style import GREY, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from runback.runs.cloud import Cloud
    from runback.runs.curves import Chart, Curve, Panel
    from runback.runs.run import Run

# Okabe and Ito: told apart by the colour-blind too (https://jfly.uni-koeln.de/color/), less yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
LINES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
LONGEST_NAME = 32
MOST_NAMED = 24
FEW_POINTS = 30


def curves(chart: Chart) -> Figure:
    """Return the figure: an axes for each panel, a colour for each run (or metric, of one run)."""
    with style():
        columns = 1 if len(chart.panels) == 1 else 2 if len(chart.panels) < 7 else 3
        rows = -(-len(chart.panels) // columns)
        figure = _figure(max(7.0, 5.0 * columns), 1.0 + 3.4 * rows)
        lines: dict[str, Line2D] = {}
        for number, panel in enumerate(chart.panels, 1):
            axes = figure.add_subplot(rows, columns, number)
            _draw(axes, panel, chart, lines)
        _name_runs(figure, chart, lines)
        return figure


def scatter(cloud: Cloud) -> Figure:
    """Return the figure: a dot for each run."""
    with style():
        figure = _figure(7.0, 4.4)
        axes = figure.add_subplot()
        axes.scatter(
            [dot.x for dot in cloud.dots],
            [dot.y for dot in cloud.dots],
            s=42,
            color=COLOURS[0],
            alpha=0.75,
            linewidths=0,
        )
        axes.set_title(plain(cloud.metric))
        axes.set_xlabel(plain(cloud.param))
        axes.grid(axis="x")
        if cloud.categories:
            _name_categories(axes, [plain(text) for text in cloud.categories])
        elif cloud.is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        if len(cloud.dots) <= MOST_NAMED:
            for dot in cloud.dots:
                axes.annotate(
                    dot.run.short_id,
                    (dot.x, dot.y),
                    (5, 4),
                    textcoords="offset points",
                    fontsize=7,
                    color=GREY,
                )
        return figure


def _name_categories(axes: Axes, names: list[str]) -> None:
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    if sum(map(len, names)) > 60:
        axes.tick_params(axis="x", labelrotation=30, labelrotation_mode="xtick")


def named(run: Run) -> str:
    """Return the run's short id and name, as a label."""
    return f"{run.short_id}  {plain(run.name)}".rstrip()


def plain(text: str) -> str:
    """Return a text from anywhere as a label: one line, no formula, not too long."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    text = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches wide and high, that a notebook shows by itself."""
    from matplotlib.figure import Figure

    from runback.runs.picture import to_bytes

    class Picture(Figure):
        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            # Of 160 dots to the inch, shown at 100: as large as pyplot's, and sharp.
            return to_bytes(self, "png"), {"width": round(100 * self.get_figwidth())}

    return Picture(figsize=(width, height))


def _draw(axes: Axes, panel: Panel, chart: Chart, lines: dict[str, Line2D]) -> None:
    """Draw a panel; remember a line of each run for the legend."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    styles = dict(zip(panel.metrics, LINES * len(panel.metrics), strict=False))
    by_run = len(chart.runs) > 1
    colours = colours_of([run.id for run in chart.runs] if by_run else panel.metrics)
    shown: dict[str, Line2D] = {}
    for curve in reversed(panel.curves):
        (line,) = axes.plot(curve.x, curve.y, **_look(curve))
        line.set_color(colours[curve.run.id if by_run else curve.metric])
        line.set_linestyle(styles[curve.metric] if by_run else "solid")
        line.set_label(plain(curve.metric))
        shown[curve.metric] = line
        if curve.metric == panel.metrics[0]:
            lines[curve.run.id] = line
    axes.set_title(plain(panel.title))
    axes.set_xlabel(chart.x_label)
    axes.margins(x=0.02)
    if chart.x_label == "step":
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if chart.is_log and any(y > 0 for curve in panel.curves for y in curve.y):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    if len(shown) > 1:
        _name_metrics(axes, shown, by_run)


def _look(curve: Curve) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if len(curve.x) <= FEW_POINTS else {}


def colours_of(names: list[str]) -> dict[str, Any]:
    """Return a colour for each name: of a scale if there are more than well-known ones."""
    from matplotlib import colormaps

    if len(names) <= len(COLOURS):
        return dict(zip(names, COLOURS, strict=False))
    scale = colormaps["viridis"]
    return {name: scale(0.92 * k / (len(names) - 1)) for k, name in enumerate(names)}


def _name_metrics(axes: Axes, shown: dict[str, Line2D], by_run: bool) -> None:
    legend = axes.legend(
        handles=list(reversed(shown.values())),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(shown),
        handlelength=2.2,
    )
    for handle in legend.legend_handles if by_run else ():
        if handle is not None:
            handle.set_color(GREY)  # type: ignore[attr-defined]


def _name_runs(figure: Figure, chart: Chart, lines: dict[str, Line2D]) -> None:
    """Name one run above the axes; several ones in a legend below."""
    if len(chart.runs) == 1:
        figure.suptitle(named(chart.runs[0]), x=0.012, ha="left", fontsize=12, fontweight="bold")
        return
    runs = [run for run in chart.runs if run.id in lines]
    labels = [named(run) for run in runs[:MOST_NAMED]]
    if len(runs) > MOST_NAMED:
        labels[-1] = f"… and {len(runs) - MOST_NAMED + 1} more runs"
    widest = max(map(len, labels), default=1)
    columns = min(max(1, int(figure.get_figwidth() * 12 // (widest + 6))), len(labels))
    figure.set_figheight(figure.get_figheight() + 0.2 * (len(labels) // columns))
    figure.legend(
        [lines[run.id] for run in runs[: len(labels)]],
        labels,
        loc="outside lower left",
        ncols=columns,
        handlelength=1.6,
    )
