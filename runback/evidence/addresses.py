"""Addresses in memory that savers write into files as the names of objects.

Keras names shared objects by them, and skops its arrays. They are another one each time; what they
say, which of them are the same, is kept: each becomes the number of its first appearance.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runback.evidence.leaves import Path

NAMED = "addresses in memory"
_KEYS = {"shared_object_id", "__id__"}
_FILE = re.compile(r"\d{9,}(\.np[yz])")
_QUOTED = re.compile(rb'"(\d{9,}\.np[yz])"')


def numbered(leaves: dict[Path, Any]) -> dict[Path, Any]:
    """Return the leaves of a document with numbers in the place of addresses."""
    objects: dict[int, str] = {}
    arrays: dict[str, str] = {}
    found = {}
    for path, value in leaves.items():
        if type(value) is int and path and path[-1] in _KEYS:
            value = objects.setdefault(value, f"object {len(objects)}")
        elif isinstance(value, str) and _FILE.fullmatch(value):
            value = arrays.setdefault(value, _array(len(arrays), value))
        found[path] = value
    return found


def members(schema: bytes) -> dict[str, str]:
    """Return by name of an archive's member the one that it has in `numbered` of its schema."""
    names = dict.fromkeys(name.decode() for name in _QUOTED.findall(schema))
    return {name: _array(nth, name) for nth, name in enumerate(names)}


def _array(nth: int, name: str) -> str:
    return f"array {nth}{name[-4:]}"
