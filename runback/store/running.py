"""Know which runs are being recorded on this machine, and which of them were killed.

A file for each process that records or continues a run, locked by it: `RUN` or
`RUN.PROCESS.TOKEN`. The kernel lets go of the lock when that process is gone, however it
went: kill -9, out of memory, a crash of the machine. Process ids would not do: a
container has its own.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.record.state import RUN_ID
from runback.store.identity import private_folder

if TYPE_CHECKING:
    from pathlib import Path


# Before the name of a session (capture/recorder.py), which is held before its first run is made.
SESSION = "session-"
# Tells this process's holds from others'; with its id, since a forked one has the same.
_PROCESS = secrets.token_hex(4)
_NAME = re.compile(rf"({SESSION})?[0-9a-f]{{32}}")


@dataclass(frozen=True)
class Hold:
    """A run that this process records; `release` when its record is whole."""

    path: Path
    handle: int

    def release(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.handle)

    def forget(self) -> None:
        """Close our copy of the handle in a child process, which does not record the run."""
        os.close(self.handle)


def hold(root: Path, run_id: str) -> Hold:
    """Say that this process records the run, or has the session. Raises OSError.

    Several processes can hold a run: it is alive as long as one of them is.
    """
    folder = private_folder(root) / "running"
    folder.mkdir(exist_ok=True)
    name = f"{run_id}.{_process()}.{secrets.token_hex(4)}"
    handle = os.open(folder / f".{name}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    fcntl.flock(handle, fcntl.LOCK_EX)
    (folder / f".{name}").rename(folder / name)  # seen only once it is locked
    return Hold(folder / name, handle)


def runs(root: Path) -> tuple[set[str], set[str]]:
    """Return the runs that are being recorded here, and those whose processes are gone."""
    live, known = set[str](), set[str]()
    for path in (root / ".runback" / "running").glob("*"):
        run_id = path.name.partition(".")[0]
        if RUN_ID.fullmatch(run_id):
            known.add(run_id)
            if run_id not in live and _is_held(path):
                live.add(run_id)
    return live, known - live


def gone_sessions(root: Path) -> set[str]:
    """Return the sessions whose process was killed."""
    paths = (root / ".runback" / "running").glob(f"{SESSION}*")
    return {
        path.name.removeprefix(SESSION).partition(".")[0] for path in paths if not _is_held(path)
    }


def is_known(root: Path, name: str) -> bool:
    """Say whether a run, or a session, is being recorded, or was by a process that was killed."""
    return bool(_files(root, name))


def is_held(root: Path, name: str) -> bool:
    """Say whether a run, or a session, is being recorded at this moment."""
    return any(map(_is_held, _files(root, name)))


def is_held_elsewhere(root: Path, run_id: str) -> bool:
    """Say whether another process records or continues a run at this moment."""
    ours = f"{run_id}.{_process()}."
    return any(_is_held(p) for p in _files(root, run_id) if not p.name.startswith(ours))


def _process() -> str:
    return f"{_PROCESS}{os.getpid()}"


def _files(root: Path, name: str) -> list[Path]:
    folder = root / ".runback" / "running"
    if not _NAME.fullmatch(name):  # anybody's tag may say anything
        return []
    return [path for path in (folder / name, *folder.glob(f"{name}.*")) if path.exists()]


def _is_held(path: Path) -> bool:
    try:
        with path.open() as file:
            # Shared: two that look at the same time do not take one another for the holder.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:  # ended just now
        return True
    except BlockingIOError:
        return True
    return False


def sweep(root: Path) -> None:
    """Remove the drafts of processes that were killed before they had renamed them."""
    for path in (root / ".runback" / "running").glob(".*"):
        # A younger one may be about to be locked.
        if time.time() - path.lstat().st_ctime > 1 and not _is_held(path):
            path.unlink(missing_ok=True)


def remove(root: Path, name: str) -> None:
    """Forget a run, or a session, whose process is gone, and whose record has been completed."""
    for path in _files(root, name):
        if not _is_held(path):  # nobody has taken it up meanwhile
            path.unlink(missing_ok=True)
