"""Fetch the data of a run that DVC has, where it is gone or is another by now."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from runback.dvc import fetched
from runback.replay import attempt as attempts
from runback.replay import data
from runback.replay.errors import DataGone
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from runback.dvc.datasets import Noted
    from runback.replay.attempt import Attempt
    from runback.replay.original import Original


def planned(
    original: Original, places: Mapping[str, Path], given: Mapping[str, Path]
) -> tuple[dict[str, Noted], dict[str, Any]]:
    """Return which data is to be fetched, and the digests that all of it will have.

    given: what the user says of some; that is taken as it is. Raises DataGone.
    """
    known = data.under_dvc(original) if shutil.which("dvc") else {}
    known = {name: noted for name, noted in known.items() if name not in given}
    gone = known.keys() - {name for name, place in places.items() if place.exists()}
    digests = data.digests(original, {n: place for n, place in places.items() if n not in gone})
    wanted = {
        name: noted
        for name, noted in known.items()
        if name in gone or digests[name].get("digest") != noted.digest
    }
    recorded = part(original.manifest, "data")
    return wanted, {**digests, **{name: recorded[name] for name in wanted}}


def fetch(
    original: Original,
    wanted: Mapping[str, Noted],
    attempt: Attempt,
    tell: Callable[[str], None],
) -> dict[str, Path]:
    """Fetch data into the attempt's folder, link it to the code, and return where it is.

    Raises NotFetched, DataGone: DVC brought something else.
    """
    places: dict[str, Path] = {}
    for number, (name, noted) in enumerate(sorted(wanted.items())):
        tell(f"fetching the data {name} with dvc pull, as it was recorded: {noted.digest[:12]}…")
        folder = attempt.folder / "data" / str(number)
        places[name] = fetched.fetch(data.project_of(original), name, noted, folder)
        found = data.digests(original, {name: places[name]})[name].get("digest")
        if found != noted.digest:
            raise DataGone(original.id, [f"{name}: was {noted.digest}, DVC brought {found}"])
    attempts.link(attempt.code, places)
    return places
