"""frozen.json: what is in a frozen run, with the digest of each file, and what is not.

Whoever reads it takes it for a stranger's: every name is one of the places below,
and leads nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.frozen.errors import NotFrozen
from runback.record import files
from runback.record.checkpoint import DIGEST
from runback.record.state import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NAME, KIND = "frozen.json", "frozen run"
MLRUNS, DATA, BESIDE, WHEELS, IMAGE = "mlruns", "data", "beside", "wheels", "image.tar"
_ITEM = r"[^/]+/(?:[0-9a-f]{32}|models/m-[0-9a-f]{32})/artifacts"
_PLACE = re.compile(
    rf"{MLRUNS}/{_ITEM}/.+|{DATA}/\d+(?:/.+)?|{BESIDE}/.+|{WHEELS}/[^/]+\.whl|{re.escape(IMAGE)}",
    re.DOTALL,
)


@dataclass(frozen=True)
class Contents:
    """What was frozen.

    by: the version of runback. created_ms: since 1970. python: the recorded version.
    image: the id of the image, "" if it is not in there. data: by recorded path digest,
    files, size_bytes and, where it is in there, `at`: its file or folder. left_out:
    what is not in there, and why. files: digest and size by path.
    """

    run_id: str
    name: str
    by: str
    created_ms: int
    python: str = ""
    image: str = ""
    data: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def below(self, *places: str) -> list[str]:
        """Return the files of these places, sorted."""
        return sorted(name for name in self.files if name.partition("/")[0] in places)

    def size_bytes(self, *places: str) -> int:
        return sum(int(self.files[name]["size_bytes"]) for name in self.below(*places))

    def as_object(self) -> dict[str, Any]:
        return {"format": files.FORMAT, "kind": KIND, **asdict(self)}


def parse(text: bytes, path: Path) -> Contents:
    """Return what a frozen.json says. Raises NotFrozen: nonsense, or of a newer format."""
    try:
        found = files.parse(text, path)
    except RecordError as error:
        raise NotFrozen(path, f"its {NAME} {error.reason}") from error
    if wrong := _wrong(found):
        raise NotFrozen(path, f"its {NAME} {wrong}"[:300])
    known = {name: found[name] for name in Contents.__dataclass_fields__}
    return Contents(**known)


def _wrong(found: dict[str, Any]) -> str:
    """Return what cannot be used, "" if all can."""
    if found.get("kind") != KIND:
        return "is of something else"
    for name, is_right in _FIELDS.items():
        if not is_right(found.get(name)):
            return f"has no right {name}"
    for name, about in found["files"].items():
        if not (files.is_inside(name) and _PLACE.fullmatch(name) and _is_digest(about)):
            return f"names {name!r}, which belongs to no frozen run"
    folders = {name[:at] for name in found["files"] for at in _slashes(name)}
    stray = next((name for name in found["files"] if name in folders), None)
    return f"names {stray!r} as a file and a folder" if stray else ""


def _slashes(name: str) -> list[int]:
    return [at for at, letter in enumerate(name) if letter == "/"]


def _is_digest(about: Any) -> bool:
    if not isinstance(about, dict) or not isinstance(about.get("digest"), str):
        return False
    size = about.get("size_bytes")
    return type(size) is int and size >= 0 and bool(DIGEST.fullmatch(about["digest"]))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_data(value: Any) -> bool:
    """Say whether all that is in there lies where data does."""
    if not isinstance(value, dict) or not all(isinstance(about, dict) for about in value.values()):
        return False
    places = [about["at"] for about in value.values() if "at" in about]
    return all(isinstance(at, str) and re.fullmatch(rf"{DATA}/\d+", at) for at in places)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "run_id": lambda value: isinstance(value, str) and bool(RUN_ID.fullmatch(value)),
    **dict.fromkeys(("name", "by", "python", "image"), _is_text),
    "created_ms": lambda value: type(value) is int,
    "data": _is_data,
    "left_out": lambda value: (
        isinstance(value, dict) and all(isinstance(why, str) for why in value.values())
    ),
    "files": lambda value: isinstance(value, dict),
}
