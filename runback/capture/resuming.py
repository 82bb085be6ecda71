"""Go on with the record of a run that another process began, and that has ended or was killed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runback.record import files, manifest
from runback.store.complete import KILLED

if TYPE_CHECKING:
    from pathlib import Path


def going_on(record: Path, run_id: str, captured: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a run that goes on in this process, None if it has none yet.

    It says what it said of the start, and in `resumed` what is otherwise now: process,
    command and the digest of the code, for each time. Raises RecordError.
    """
    if not os.path.lexists(record / files.MANIFEST):
        return None
    known = manifest.read(record, run_id)
    again = {name: captured.get(name) for name in ("process", "command")}
    again["code"] = (captured.get("code") or {}).get("digest")
    resumed = known.get("resumed")
    killed = [] if manifest.is_final(known) or KILLED in known["missing"] else [KILLED]
    return {
        **{name: value for name, value in known.items() if name not in ("ended", "at_end")},
        **{"state": manifest.RUNNING, "files": {}, "artifacts": {}, "models": {}},
        "missing": [*known["missing"], *killed],
        "resumed": [*(resumed if isinstance(resumed, list) else []), again],
    }
