"""Fetch the data of a run that DVC has, where it is gone or is another by now."""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from runback.dvc import fetched
from runback.replay import data
from runback.replay.errors import DataGone
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from runback.dvc.datasets import Noted
    from runback.replay.original import Original


def planned(
    original: Original, places: Mapping[str, Path], given: Mapping[str, Path]
) -> tuple[dict[str, Noted], dict[str, Any]]:
    """Return which data is to be fetched, and the digests that all of it will have.

    given: what the user says of some; that is taken as it is. Raises DataGone.
    """
    known = {n: noted for n, noted in fetchable(original).items() if n not in given}
    gone = [name for name in known if not places[name].exists()]
    brought = {*gone, *_inside(gone, original, given)}
    digests = data.digests(original, {n: at for n, at in places.items() if n not in brought})
    wanted = {
        name: noted
        for name, noted in known.items()
        if name in brought or digests[name].get("digest") != noted.digest
    }
    brought = {*wanted, *_inside(wanted, original, given)}
    recorded = part(original.manifest, "data")
    return wanted, {**digests, **{name: recorded[name] for name in brought}}


def fetchable(original: Original) -> dict[str, Noted]:
    """Return the data that DVC can be asked for, with what it noted; none without a `dvc`."""
    return data.under_dvc(original) if shutil.which("dvc") else {}


def fetch(
    original: Original,
    wanted: Mapping[str, Noted],
    folder: Path,
    tell: Callable[[str], None],
    given: Iterable[str] = (),
) -> dict[str, Path]:
    """Fetch data as it was recorded; return where it is, below `folder`.

    So is other declared data that lies in it, but for what is given. Raises NotFetched,
    DataGone: DVC brought something else.
    """
    places: dict[str, Path] = {}
    for number, (name, noted) in enumerate(sorted(wanted.items())):
        tell(f"fetching the data {name} with dvc pull, as it was recorded: {noted.digest[:12]}…")
        project = data.dvc_project(original, name) or data.project_of(original)
        places[name] = fetched.fetch(project, name, noted, folder / str(number))
        found = data.digests(original, {name: places[name]})[name].get("digest")
        if found != noted.digest:
            raise DataGone(original.id, [f"{name}: was {noted.digest}, DVC brought {found}"])
    inside = _inside(wanted, original, (*given, *wanted))
    return {**places, **{n: places[o] / PurePosixPath(n).relative_to(o) for n, o in inside.items()}}


def _inside(names: Iterable[str], original: Original, but: Iterable[str]) -> dict[str, str]:
    """Return the declared paths that lie in one of these, with the nearest that they lie in."""
    others = part(original.manifest, "data").keys() - {*but}
    return {n: outer for outer in sorted(names) for n in others if n.startswith(f"{outer}/")}
