"""The data of a run: where it is now, and whether it is what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture import data
from runback.dvc import project
from runback.dvc.datasets import Noted, noted
from runback.record import files
from runback.replay.errors import DataGone
from runback.replay.original import part
from runback.store.identity import private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runback.replay.original import Original


def located(original: Original, given: Mapping[str, Path]) -> dict[str, Path]:
    """Return where each declared path of the record is here.

    given: what the user says of some; others too, which the record does not declare. A
    path within the project is looked for in the project that was recorded, or in the
    store's folder if that was on another machine.
    """
    root = project_of(original)
    found = {name: root / name for name in part(original.manifest, "data")}
    return {**found, **given}


def under_dvc(original: Original) -> dict[str, Noted]:
    """Return the data that DVC can fetch as it was: recorded by its digests, and DVC is set up."""
    recorded = part(original.manifest, "data")
    keys = ("digest", "size_bytes", "files")
    found = {name: noted(*(part(recorded, name).get(key) for key in keys)) for name in recorded}
    return {
        name: about
        for name, about in found.items()
        # DVC has never had what was edited since, or what .dvcignore leaves out.
        if about
        and files.is_inside(name)
        and dvc_project(original, name)
        and part(part(recorded, name), "dvc").get("digest", about.digest) == about.digest
    }


def dvc_project(original: Original, name: str) -> Path | None:
    """Return the folder in which DVC is asked for declared data, None where it is not set up."""
    return project.home((project_of(original) / name).parent)


def project_of(original: Original) -> Path:
    """Return where the project is, or what stands for it: the store's folder."""
    return original.project_here if original.is_own else original.root


def digests(original: Original, places: Mapping[str, Path]) -> dict[str, Any]:
    """Return the present digests by recorded path. Raises DataGone: all of it at once."""
    recorded = {n: about for n, about in part(original.manifest, "data").items() if n in places}
    gone = [
        _worded(name, places[name], about)
        for name, about in recorded.items()
        if isinstance(about, dict) and "digest" in about and not places[name].exists()
    ]
    if gone:
        raise DataGone(original.id, gone)
    cache = private_folder(original.root) / "digests.json"
    found = data.describe(places.values(), Path("/"), cache, _as_dvc(recorded, places))
    by_path = {f"/{shown}".replace("//", "/"): about for shown, about in found.items()}
    return {name: {**by_path[_normal(path)], "path": name} for name, path in places.items()}


def _as_dvc(recorded: Mapping[str, Any], places: Mapping[str, Path]) -> set[Path]:
    """Return the paths whose recorded digest was made as DVC makes it."""
    return {
        places[name]
        for name, about in recorded.items()
        if isinstance(about, dict) and str(about.get("digest")).startswith("md5:")
    }


def changed(original: Original, places: Mapping[str, Path], before: Mapping[str, Any]) -> list[str]:
    """Return the paths whose data is not what it was before the training."""
    try:
        now = digests(original, places)
    except DataGone:
        return [name for name, place in places.items() if not place.exists()]
    known = {name: part(dict(before), name).get("digest") for name in now}
    return sorted(name for name in now if now[name].get("digest") != known[name])


def _normal(path: Path) -> str:
    import os

    return os.path.normpath(path.absolute())


def _worded(name: str, place: Path, about: Mapping[str, Any]) -> str:
    size = about.get("size_bytes")
    count = about.get("files")
    return f"{name}: was at {place}, {count} files, {size} bytes, {about.get('digest')}"
