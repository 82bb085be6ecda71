"""Addresses in memory that savers write into files as the names of objects.

Keras names shared objects by them, and skops its arrays. They are another one each time; what they
say, which of them are the same, is kept: each becomes the number of its first appearance.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runback.evidence.case import Case

# A place in a document: of a list an int; a key that is no text is its type and `repr`.
Path = tuple[str | int | tuple[str, str], ...]

NAMED = "addresses in memory"
SCHEMA, SKOPS = "schema.json", ".skops"
_FILE = re.compile(r"\d{9,}(\.np[yz])")
_QUOTED = re.compile(rb'"file":\s*"(\d{9,}\.np[yz])"')
# Where an .h5 file of Keras has the config that a .keras file has in config.json.
_ATTRIBUTES = {"@model_config", "@training_config"}


def numbered(case: Case, leaves: dict[Path, Any]) -> dict[Path, Any]:
    """Return the leaves of a document with numbers in the place of addresses.

    Only in what skops and Keras write: what is called so elsewhere is a user's.
    """
    if case.is_member(SCHEMA, SKOPS):
        return _numbered(leaves, "__id__")
    if case.is_member("config.json", ".keras"):
        return _numbered(leaves, "shared_object_id")
    if case.file.lower().endswith((".h5", ".hdf5")):
        config = {path: v for path, v in leaves.items() if path and path[0] in _ATTRIBUTES}
        return {**leaves, **_numbered(config, "shared_object_id")}
    return leaves


def _numbered(leaves: dict[Path, Any], key: str) -> dict[Path, Any]:
    objects: dict[int, str] = {}
    arrays: dict[str, str] = {}
    found = {}
    for path, value in leaves.items():
        if type(value) is int and path and path[-1] == key:
            value = objects.setdefault(value, f"object {len(objects)}")
        elif path[-1:] == ("file",) and isinstance(value, str) and _FILE.fullmatch(value):
            value = arrays.setdefault(value, _array(len(arrays), value))
        found[path] = value
    return found


def members(schema: bytes) -> dict[str, str]:
    """Return by name of an archive's member the one that it has in `numbered` of its schema."""
    names = dict.fromkeys(name.decode() for name in _QUOTED.findall(schema))
    return {name: _array(nth, name) for nth, name in enumerate(names)}


def _array(nth: int, name: str) -> str:
    return f"array {nth}{name[-4:]}"
