"""Freeze the declared data of a run, if it is still what was recorded."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.errors import RunbackError
from runback.frozen.contents import DATA
from runback.frozen.errors import CannotFreeze
from runback.replay import data as replayed
from runback.replay import dvc
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runback.frozen.sink import Sink
    from runback.replay.original import Original

_KNOWN = ("digest", "files", "size_bytes")


@dataclass(frozen=True)
class Found:
    """A declared path. why_not: why it cannot be frozen, "" if it can."""

    name: str
    path: Path
    about: Mapping[str, Any]
    why_not: str


def find(original: Original, is_wanted: bool) -> list[Found]:
    """Return the declared data of the run, each compared with its recorded digest."""
    declared = part(original.manifest, "data")
    places = replayed.located(original, {})
    return [
        Found(name, places[name], about, _why_not(original, name, places[name], is_wanted))
        for name, about in sorted(declared.items())
        if isinstance(about, dict)
    ]


def fetched(
    original: Original, found: list[Found], folder: Path, tell: Callable[[str], None]
) -> list[Found]:
    """Return the data with what DVC has of it, as it was recorded, in place of what is not here.

    folder: for what is fetched. That it cannot be had is said, and no error.
    """
    known, places, lacking = replayed.under_dvc(original), dict[str, Path](), dict[str, str]()
    for at, entry in enumerate(found):
        if entry.why_not and entry.name in known:
            try:
                wanted = {entry.name: known[entry.name]}
                places |= dvc.fetch(original, wanted, folder / str(at), tell)
            except RunbackError as error:
                lacking[entry.name] = f"{entry.why_not}; {error}"
    return [
        replace(entry, path=places[entry.name], why_not="")
        if entry.why_not and "digest" in entry.about and entry.name in places
        else replace(entry, why_not=lacking.get(entry.name, entry.why_not))
        for entry in found
    ]


def _why_not(original: Original, name: str, path: Path, is_wanted: bool) -> str:
    about = part(original.manifest, "data")[name]
    if not is_wanted:
        return "not wanted"
    if "digest" not in about:
        return f"was not there when it was recorded: {about.get('missing')}"
    if "unreadable" in about:
        return "holds what could not be read when it was recorded"
    if not path.exists():
        return f"is not at {path} any more"
    alone = replace(original, manifest={**original.manifest, "data": {name: about}})
    now = replayed.digests(alone, {name: path})[name]
    return "" if now.get("digest") == about["digest"] else f"is not what it was any more, at {path}"


def freeze(original: Original, found: list[Found], sink: Sink) -> dict[str, dict[str, Any]]:
    """Write the data that can be had; return what is known of all of it, by recorded path.

    Raises CannotFreeze if it changes meanwhile.
    """
    known = dict[str, dict[str, Any]]()
    for at, entry in enumerate(found):
        about = {name: entry.about[name] for name in _KNOWN if name in entry.about}
        if not entry.why_not:
            about["at"] = f"{DATA}/{at}"
            digest = _write(entry.path, about["at"], sink)
            if digest != about["digest"] and _is_changed(original, entry):
                raise CannotFreeze(
                    original.id, f"its data {entry.path} changed while it was copied"
                )
        known[entry.name] = about
    return known


def _is_changed(original: Original, entry: Found) -> bool:
    """Say whether the data is another by now, by a digest of the recorded kind."""
    return bool(_why_not(original, entry.name, entry.path, True))


def _write(path: Path, at: str, sink: Sink) -> str:
    """Write a file, or a folder; return its digest, as capture takes it."""
    if not path.is_dir():
        sink.add_file(at, path.resolve())
        return str(sink.files[at]["digest"])
    lines = list[tuple[bytes, str]]()
    for name in sorted(_names(path), key=os.fsencode):
        sink.add_file(f"{at}/{name}", (path / name).resolve())
        lines.append((os.fsencode(name), sink.files[f"{at}/{name}"]["digest"]))
    whole = hashlib.sha256()
    for line, digest in sorted(lines):
        whole.update(line + f"\0{digest}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _names(folder: Path) -> Iterator[str]:
    """Yield the files of a folder; links to files are files, links to folders none of it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name).relative_to(folder).as_posix()
