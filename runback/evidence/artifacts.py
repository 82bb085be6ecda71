"""Compare the artifacts of two runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runback.evidence import folders, images
from runback.evidence.finding import ARTIFACTS, ASIDE, UNKNOWN, Finding
from runback.evidence.folders import Folders
from runback.record import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.evidence.side import Digests, Pair

# TensorBoard's: time and host are in the name, and the time of each value is in the file.
_EVENTS = re.compile(r"(.*/)?events\.out\.tfevents\.[^/]*")


def compare(pair: Pair) -> Iterator[Finding]:
    """Yield what is found of each artifact; TensorBoard's event files are set aside by folder."""
    yield from _damaged(pair)
    both = pair.recorded.artifact_digests(), pair.replayed.artifact_digests()
    yield from _events(*both)
    kept = [{n: d for n, d in found.items() if not _EVENTS.fullmatch(n)} for found in both]
    shown = images.names(kept[0]), images.names(kept[1])
    digests = [{shown[n].get(k, k): d for k, d in kept[n].items()} for n in (0, 1)]
    real = [{name: of for of, name in names.items()} for names in shown]
    paths = pair.recorded.artifacts, pair.replayed.artifacts
    how = pair.owns, pair.wish, (real[0], real[1])
    yield from folders.compare(Folders(ARTIFACTS, "", (digests[0], digests[1]), paths, *how))


def _damaged(pair: Pair) -> Iterator[Finding]:
    for rows in pair.rows:
        for row in rows.get("experiments", []):
            location = row.get("artifact_location")
            if location is not None and not isinstance(location, str):
                detail = f"the folder of its experiment is {location!r}"[:200]
                yield Finding(ARTIFACTS, files.RUN, UNKNOWN, detail=detail)


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
