"""Leave a verdict where people look: the original's tag, a badge and a report in the MLflow UI."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from runback.record import files
from runback.replay.verdict import DIFFERS, IDENTICAL
from runback.store.identity import store_id
from runback.store.tagging import set_tags
from runback.store.tags import REPLAY_OF_TAG, REPLAYED_AS_TAG, VERDICT_TAG

if TYPE_CHECKING:
    from runback.replay.original import Original
    from runback.runs.run import Run

REPORT = "replay.json"
_COLOURS = {IDENTICAL: "#2e7d32", DIFFERS: "#c62828"}
_BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="28" role="img">
<title>replay: {verdict}</title>
<rect width="64" height="28" fill="#455a64"/>
<rect x="64" width="{rest}" height="28" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="13">
<text x="12" y="19">replay</text><text x="76" y="19">{verdict}</text></g>
</svg>
"""


def publish(original: Original, replayed: Run, verdict: str, report: dict[str, Any]) -> None:
    """Tag both runs, and put badge and report into their records.

    The original's own files stay as they are: the badge has the name of this store, whose
    alone it is. Where its folder cannot be written, the tag has to do.
    """
    from runback.runs.folder import record_of

    root = original.root
    files.write_json(record_of(root, replayed.listed) / REPORT, report)
    with contextlib.suppress(OSError):
        name = f"verdict-{store_id(root)}.svg"
        files.replace(original.record / name, badge(verdict).encode())
    set_tags(root, replayed.id, {REPLAY_OF_TAG: original.id})
    set_tags(root, original.id, {VERDICT_TAG: verdict, REPLAYED_AS_TAG: replayed.id})


def badge(verdict: str) -> str:
    """Return a picture of the verdict, as SVG."""
    rest = 24 + 8 * len(verdict)
    colour = _COLOURS.get(verdict, "#ef6c00")
    return _BADGE.format(verdict=verdict, rest=rest, width=64 + rest, colour=colour)
