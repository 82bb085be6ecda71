"""The folder of a replay: the code as it was recorded, beside what is known of the attempt.

`replays/NAME-ID/` in the store's folder, which git and snapshots leave out: `code/`,
`attempt.json`. One replay of a run at a time: whoever holds its lock is at work in it,
and a kill lets go of it. What a killed one left is removed by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from runback.record import files
from runback.replay.errors import AttemptGoesOn, ReplayFailed
from runback.replay.original import part
from runback.runs.checkout import CODE, Wish, checkout, safe_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from runback.replay.original import Original

FOLDER, ABOUT = "replays", "attempt.json"
# In a store that was unpacked from an archive: what the snapshot has not.
BESIDE = "beside"


@dataclass(frozen=True)
class Attempt:
    """A replay that is being made.

    token: by which its runs are found. lock: an open handle. began_ms: since 1970.
    """

    folder: Path
    token: str
    lock: int
    began_ms: int

    @property
    def code(self) -> Path:
        return self.folder / "code"

    def note(self, **facts: Any) -> None:
        """Write down how far it is."""
        known = files.read_json(self.folder / ABOUT)
        files.write_json(self.folder / ABOUT, {**known, **facts})

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def place(original: Original) -> Path:
    """Return the folder in which a run is replayed."""
    run = original.run
    return original.root / FOLDER / f"{safe_name(run.name, 'run')}-{run.short_id}"


@contextlib.contextmanager
def begun(original: Original) -> Iterator[Attempt]:
    """Give a new attempt with the recorded code laid out, every digest compared.

    Raises AttemptGoesOn, RecordError (WrongDigest).
    """
    folder = place(original)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder.parent / ".gitignore").exists():
        files.replace(folder.parent / ".gitignore", b"*\n")
    with _locked(original, folder) as lock:
        _clear(original, folder)
        folder.mkdir()
        attempt = Attempt(folder, secrets.token_hex(4), lock, time.time_ns() // 1_000_000)
        names = sorted(original.code.files)
        about = {
            "format": files.FORMAT,
            "replay_of": original.id,
            "attempt": attempt.token,
            "files": names,
        }
        files.write_json(folder / ABOUT, about)
        checkout(original.root, original.id, Wish(only=CODE, to=attempt.code))
        (folder / "work").mkdir()
        link(attempt.code, beside(original))
        yield attempt


def _clear(original: Original, folder: Path) -> None:
    """Remove what an earlier attempt left. Raises ReplayFailed where that cannot be done."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        what = "cannot begin: what an earlier attempt left cannot be removed"
        raise ReplayFailed(
            original.id, what, folder, f"rm -r {quote(str(folder))}   # as its owner"
        )


@contextlib.contextmanager
def _locked(original: Original, folder: Path) -> Iterator[int]:
    """Hold the lock of the attempts at a run; the process that is started has it too."""
    lock_file = folder.parent / f".{folder.name}.lock"
    lock = os.open(lock_file, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AttemptGoesOn(original.id, folder, lock_file) from None
        yield lock
    finally:
        os.close(lock)


def beside(original: Original) -> dict[str, Path]:
    """Return files that the snapshot has not and the training used, where they are now.

    Modules that git ignores, and files too large for a snapshot. Of a record that came
    from elsewhere only what was frozen with it: no path of it is one of this machine.
    """
    imported = part(part(original.manifest, "at_end"), "imported")
    large = (name for name, why in original.code.left_out.items() if " bytes" in why)
    root = original.project_here if original.is_own else original.root / BESIDE
    return {name: root / name for name in (*imported, *large) if files.is_inside(name)}


def link(code: Path, wanted: Mapping[str, Path]) -> None:
    """Link what is not in the snapshot into the code's folder, if it is there.

    Of what lies in one another, the innermost is linked from where it is said to be.
    """
    paths = {code / name for name in wanted}
    for name, target in wanted.items():
        if files.is_inside(name) and target.exists():
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            _link_missing(code / name, target.absolute(), paths)


def _link_missing(path: Path, target: Path, others: Container[Path]) -> None:
    """Link each file that the snapshot has not, in folders of our own.

    others: paths that are linked on their own. A new file that the training puts among its
    data stays in the attempt.
    """
    if not target.is_dir():
        if not os.path.lexists(path):
            path.symlink_to(target)
        return
    if not path.is_symlink() and not path.is_file():
        path.mkdir(exist_ok=True)
        for inner in sorted(target.iterdir()):
            if path / inner.name in others:
                continue
            if not inner.is_symlink():
                _link_missing(path / inner.name, inner, others)
            elif not os.path.lexists(path / inner.name):
                (path / inner.name).symlink_to(inner)
