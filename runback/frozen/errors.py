"""What can go wrong where a run is frozen, or replayed from what was frozen.

CannotFreeze     what a replay needs is not to be had; nothing was written
PlaceTaken       what is there would be overwritten
NoRoom           the disk is full
NotFrozen        a file or folder that `runback freeze` did not write
ArchiveDamaged   a file of it is not what was frozen
OtherPython      its wheels are for another version of Python
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from pathlib import Path


class CannotFreeze(RunbackError):
    def __init__(self, run_id: str, reason: str, hint: str = "") -> None:
        super().__init__(f"run {run_id[:8]} cannot be frozen: {reason}", hint)


class PlaceTaken(RunbackError):
    def __init__(self, target: Path) -> None:
        super().__init__(
            f"{target} is there: nothing was written",
            "--to PATH freezes to another place",
        )


class NoRoom(RunbackError):
    def __init__(self, where: Path, what: str) -> None:
        super().__init__(f"{where} has no room for {what}", f"df -h {quote(str(where))}")


class NotFrozen(RunbackError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is not a frozen run, or not all of one: {reason}",
            "runback freeze RUN   # writes an archive of a run that is here",
        )


class ArchiveDamaged(RunbackError):
    def __init__(self, path: Path, name: str, reason: str) -> None:
        super().__init__(
            f"{path} is damaged: {name} {reason}", "copy it again from where it is whole"
        )


class OtherPython(RunbackError):
    def __init__(self, path: Path, needed: str, here: str) -> None:
        super().__init__(
            f"the wheels in {path} are for Python {needed}, and this is {here}",
            f"python{needed} -m runback replay {quote(str(path))}"
            "   # or --environment here, with what is installed",
        )
