"""What can keep a run from being replayed, as exceptions that word themselves."""

from __future__ import annotations

import shutil
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class CannotReplay(RunbackError):
    """The record does not say how to run it again; nothing was run."""

    def __init__(self, run_id: str, reason: str, hint: str = "") -> None:
        super().__init__(f"run {run_id[:8]} cannot be replayed: {reason}", hint)


class RecordDamaged(RunbackError):
    def __init__(self, run_id: str, problems: Sequence[str]) -> None:
        shown = "\n  ".join(problems[:10])
        super().__init__(
            f"the record of run {run_id[:8]} is not whole: nothing was run\n  {shown}",
            f"runback verify {run_id[:8]}   # then copy its folder again from where it is whole",
        )


class DataGone(RunbackError):
    def __init__(self, run_id: str, gone: Sequence[str]) -> None:
        """gone: path, digest and size of each, as recorded."""
        shown = "\n  ".join(gone[:10])
        name = quote(gone[0].partition(":")[0])
        # Its digest says who noted it.
        is_dvcs = "md5:" in gone[0] and shutil.which("dvc") is None
        back = "put dvc on the PATH, which fetches it" if is_dvcs else "put it back"
        super().__init__(
            f"data of run {run_id[:8]} is not where it was\n  {shown}",
            f"{back}, or: runback replay {run_id[:8]} --data {name}=PATH",
        )


class AttemptGoesOn(RunbackError):
    def __init__(self, run_id: str, folder: Path, lock: Path) -> None:
        super().__init__(
            f"a replay of run {run_id[:8]} is at work in {folder}",
            f"fuser -v {quote(str(lock))}   # names its processes: wait for them, or end them",
        )


class ReplayFailed(RunbackError):
    """The training of a replay did not come to its end, or left no run to compare."""

    def __init__(self, run_id: str, what: str, folder: Path, again: str, last: str = "") -> None:
        shown = f"\n  {last}" if last else ""
        super().__init__(
            f"the replay of run {run_id[:8]} {what}{shown}\n  its folder: {folder}",
            again
            or f"runback replay {run_id[:8]}   # begins anew; look at: ls {quote(str(folder))}",
        )


class ReplayInterrupted(RunbackError):
    exit_status = 130

    def __init__(self, run_id: str, folder: Path) -> None:
        super().__init__(
            f"interrupted; the original is as it was, the folder of the attempt is {folder}",
            f"runback replay {run_id[:8]}   # begins anew",
        )
