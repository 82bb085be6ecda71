"""Write a figure into a file: the same runs give the same bytes."""

from __future__ import annotations

import io
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

from runback.record import files
from runback.runs.errors import UnknownFormat
from runback.runs.style import style

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg", ".html")
# No dates and no versions: they would make two pictures of the same runs differ.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 75rem; margin: 2rem auto; }}
svg {{ max-width: 100%; height: auto; }}
</style>
<h1>{title}</h1>
{svg}
{notes}
</html>
"""


def check(path: Path) -> None:
    """Raise UnknownFormat if the name of the file says no format, OSError if it has no folder."""
    if path.suffix.lower() not in FORMATS:
        raise UnknownFormat(path, FORMATS)
    path.absolute().parent.stat()


def save(figure: Figure, path: Path, title: str, notes: list[str]) -> None:
    """Write the figure as PNG, PDF, SVG or a page of HTML, whole or not at all.

    A file that is there is replaced. title, notes: of the page, in plain text. Raises
    UnknownFormat, OSError.
    """
    check(path)
    kind = path.suffix.lower().removeprefix(".")
    content = page(figure, title, notes) if kind == "html" else to_bytes(figure, kind)
    # What a link points at is replaced, as every tool does it.
    files.replace(path.resolve(), content)


def to_bytes(figure: Figure, kind: str) -> bytes:
    """Return the picture. kind: "png", "pdf" or "svg"."""
    out = io.BytesIO()
    with style(), warnings.catch_warnings():
        # Letters of a name that the font does not have are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(out, format=kind, dpi=160, metadata=_METADATA[kind])
    return out.getvalue()


def page(figure: Figure, title: str, notes: list[str]) -> bytes:
    """Return a page of HTML with the picture in it, that needs no other file."""
    svg = to_bytes(figure, "svg").decode()
    lines = "\n".join(f"<p>{escape(note)}</p>" for note in notes)
    filled = _PAGE.format(title=escape(title), svg=svg[svg.index("<svg") :], notes=lines)
    return filled.encode()
