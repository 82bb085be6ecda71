"""Two contents of one name, which differ in their bytes, and how they are to be looked into."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.evidence.finding import UNKNOWN, Finding
from runback.evidence.own import Own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What is taken into memory whole; larger texts and pictures are not looked into.
LARGEST_BYTES = 64_000_000
DEEPEST = 4  # archives within archives


CLOSED = "differs in its bytes, and cannot be opened"


class CannotLook(Exception):
    """A content cannot be looked into; `str()` says why, in words for a finding."""


@dataclass(frozen=True)
class Case:
    """part, name: as the findings have them. recorded, replayed: can be read and sought in.

    owns: what each run calls its own. file: the name that tells the format.
    """

    part: str
    name: str
    recorded: BinaryIO
    replayed: BinaryIO
    file: str
    tolerance: float | None = None
    owns: tuple[Own, Own] = (Own(), Own())
    depth: int = 0

    def finding(self, status: str, **fields: Any) -> Finding:
        return Finding(self.part, self.name, status, **fields)

    def named(self, part: str) -> Case:
        return replace(self, name=f"{self.name}: {part}")

    def is_member(self, file: str, suffix: str) -> bool:
        """Say whether this is the file of that name in an archive with that suffix."""
        return self.depth > 0 and self.name.endswith(f"{suffix}: {file}")

    def texts(self) -> tuple[bytes, bytes]:
        """Return both contents. Raises CannotLook: one is too large."""
        return whole(self.recorded), whole(self.replayed)

    def looked(self, look: Callable[[Case], Iterator[Finding]]) -> Iterator[Finding]:
        """Yield what `look` finds, and what it could not look into as not compared.

        A file may be damaged in any way, and those who open it raise anything.
        """
        try:
            yield from look(self)
        except CannotLook as error:
            yield self.finding(UNKNOWN, detail=str(error))
        except Exception as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            yield self.finding(UNKNOWN, detail=f"{CLOSED}: {reason}"[:250])


def whole(file: BinaryIO, largest: int = LARGEST_BYTES) -> bytes:
    """Return all of a content. Raises CannotLook: it is too large."""
    file.seek(0)
    content = file.read(largest + 1)
    if len(content) > largest:
        raise CannotLook(f"differs, and has more than {largest:,} bytes: not looked into")
    return content


def needed(module: str, package: str) -> Any:
    """Return a module that a format needs. Raises CannotLook."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise CannotLook(f"differs in its bytes; to look into it needs {package}") from None
