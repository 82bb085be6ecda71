"""Know the code that a replay laid out: a project of its own, whose files are listed beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runback.errors import RecordError
from runback.record import files as record

FOLDER, CODE, ATTEMPT = "replays", "code", "attempt.json"


def root(folder: Path) -> Path | None:
    """Return the folder of the code around this one: STORE/replays/NAME/code, or None."""
    for place in (folder, *folder.parents):
        if place.name == CODE and place.parent.parent.name == FOLDER and _listed(place) is not None:
            return place
    return None


def files(code: Path) -> list[str]:
    """Return the paths that were laid out: what the training wrote since is no part of them."""
    names = _listed(code) or []
    return [name for name in names if record.is_inside(name)]


def _listed(code: Path) -> list[Any] | None:
    """Return the files that the attempt names, None if nobody says that this is a replay's."""
    try:
        about = json.loads(record.read(code.parent / ATTEMPT, record.LARGEST_JSON_BYTES))
    except (RecordError, ValueError, RecursionError):
        return None
    listed = about.get("files") if isinstance(about, dict) else None
    return listed if isinstance(listed, list) else None
