"""Compare the artifacts of two runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runback.evidence import folders
from runback.evidence.finding import ARTIFACTS, ASIDE, Finding
from runback.evidence.folders import Folders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.side import Digests, Pair

# TensorBoard's: time and host are in the name, and the time of each value is in the file.
_EVENTS = re.compile(r"(.*/)?events\.out\.tfevents\.[^/]*")


def compare(pair: Pair) -> Iterator[Finding]:
    """Yield what is found of each artifact; TensorBoard's event files are set aside by folder."""
    both = pair.recorded.artifact_digests(), pair.replayed.artifact_digests()
    yield from _events(*both)
    kept = [{n: d for n, d in found.items() if not _EVENTS.fullmatch(n)} for found in both]
    paths = pair.recorded.artifacts, pair.replayed.artifacts
    yield from folders.compare(
        Folders(ARTIFACTS, "", (kept[0], kept[1]), paths, pair.owns, pair.wish)
    )


def _events(recorded: Digests, replayed: Digests) -> Iterator[Finding]:
    for folder in sorted(
        {f[1] or "" for name in [*recorded, *replayed] if (f := _EVENTS.fullmatch(name))}
    ):
        counts = [
            sum(1 for n in found if (f := _EVENTS.fullmatch(n)) and (f[1] or "") == folder)
            for found in (recorded, replayed)
        ]
        detail = f"TensorBoard's, with times and host in them; {counts[1]} in the replay"
        yield Finding(
            ARTIFACTS, f"{folder}events.out.tfevents.*", ASIDE, count=counts[0], detail=detail
        )
