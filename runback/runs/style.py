"""How our pictures look."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from runback.errors import PackageMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

INK, GREY, PALE = "#222222", "#767676", "#e6e6e6"
STYLE = {
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": GREY,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "font.size": 10,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "legend.borderaxespad": 0.3,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "runback",
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.major.size": 3,
    "ytick.color": GREY,
    "ytick.major.size": 0,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw as we do, whatever the user's matplotlibrc says. Raises PackageMissing."""
    try:
        from matplotlib.style import context
    except ImportError:
        raise PackageMissing("matplotlib", "a picture") from None
    with context(["default", STYLE]):
        yield
