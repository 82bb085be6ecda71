"""Find what was imported from the project and is not in the snapshot of its code."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture import command, loaded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FILES_MAX = 1000
LIBRARY = f"{Path(os.__file__).parent}/"
INSTALLED = ("/site-packages/", "/dist-packages/")


def describe(
    project: Path, known: Collection[str], paths: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return digest and size of each imported file of the project that the snapshot has not.

    known: the snapshot's paths. paths: instead of the modules of this process. git
    ignores these files, or they are too large. By path relative to the project, or
    absolute if it lies beside a script that is elsewhere. What a virtual environment
    holds is no code of the project.
    """
    script = command.main_script()
    folders = dict.fromkeys([project, project.resolve(), *([script.parent] if script else [])])
    names = set[str]()
    for path in loaded.files() if paths is None else paths:
        if path.startswith(LIBRARY) or any(folder in path for folder in INSTALLED):
            continue  # nearly all of them, before a look at the disk
        # A link to a file elsewhere is the project's too; a link to the project's folder is it.
        folder, name = os.path.split(path)
        for place in (Path(path), Path(os.path.realpath(folder), name)):
            inside = next((folder for folder in folders if place.is_relative_to(folder)), None)
            if inside:
                names |= set() if _is_environment(place, inside) else {_named(place, project)}
                break
    return digests(project, sorted(names - set(known))[:FILES_MAX])


def digests(project: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return digest and size of each of these files as it is now; not of one that is gone."""
    found = dict[str, Any]()
    for name in names:
        try:
            data = (project / name).read_bytes()
        except (OSError, ValueError):
            continue
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        found[name] = {"digest": digest, "size_bytes": len(data)}
    return found


def _is_environment(path: Path, folder: Path) -> bool:
    """Say whether a file in a folder lies in a virtual environment that is in there too."""
    places = [folder / parent for parent in path.relative_to(folder).parents]
    return any((place / "pyvenv.cfg").exists() for place in places[:-1])


def _named(path: Path, project: Path) -> str:
    for folder in (project, project.resolve()):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return str(path)
