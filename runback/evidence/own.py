"""What each run calls its own: ids and folders, which no other run can have.

They are replaced by words, the same on both sides, before two texts are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from runback.store.places import local_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runback.record.state import Rows

# A folder's name ends where no more of a file's name follows.
_END = r"(?![\w.-])"


@dataclass(frozen=True)
class Own:
    """names: the words that stand for a run's own ids and folders."""

    names: Mapping[str, str] = field(default_factory=dict)

    def plain(self, text: str) -> str:
        """Return the text with the words in the place of the run's own names."""
        pattern = self._pattern
        return pattern.sub(lambda m: self.names[m[0]], text) if pattern else text

    def plain_bytes(self, content: bytes) -> bytes:
        return self.plain(content.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        longest = sorted(self.names, key=len, reverse=True)
        parts = [re.escape(n) + (_END if n.startswith("/") else "") for n in longest]
        return re.compile("|".join(parts)) if parts else None


def own(run_id: str, rows: Rows, models: Mapping[str, str], roots: Sequence[str]) -> Own:
    """Return the names of a run. models: the word for each model id. roots: of its project."""
    names = {run_id: "(run)", **models}
    names |= {root.rstrip("/"): "(project)" for root in roots if len(root) > 1}
    for row in rows.get("experiments", []):
        location = row.get("artifact_location")
        path = local_path(location) if isinstance(location, str) else None
        if path and path.startswith("/") and len(path) > 1:
            names.setdefault(path.rstrip("/"), "(experiment)")
    return Own({name: word for name, word in names.items() if name})
