"""A run's code as its record has it: what the manifest says, and nothing else than that."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import archive, files
from runback.record.archive import EXECUTABLE, FILE, LINK
from runback.record.checkpoint import DIGEST
from runback.remote import away
from runback.runs.errors import NoCode, WrongDigest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runback.record.archive import Entry

# As capture/leaving.py words it.
OF_A_STORE = ("MLflow's artifacts", "MLflow's database")


@dataclass(frozen=True)
class Code:
    """The code of a run. files: digest by path. left_out: reason by path.

    digest: of all files with their kinds, as the snapshot took it.
    """

    archive: Path
    files: dict[str, str]
    left_out: dict[str, str]
    digest: str
    size_bytes: int

    def entries(self) -> Iterator[Entry]:
        """Yield each file, in the archive's order; whoever reads it compares its digest.

        Raises RecordError where the archive does not hold what the manifest says.
        """
        away.bring(self.archive.parent.parent, f"{files.FOLDER}/{files.CODE}")
        missing, kinds = dict(self.files), dict[str, str]()
        for entry in archive.entries(self.archive, len(self.files), self.size_bytes):
            if missing.pop(entry.name, None) is None:
                raise RecordError(self.archive, f"holds {entry.name!r}, which was not run")
            if entry.kind not in (FILE, EXECUTABLE, LINK):
                raise RecordError(self.archive, f"holds {entry.name!r}, which is no plain file")
            kinds[entry.name] = entry.kind
            yield entry
        if missing:
            raise RecordError(self.archive, f"lacks {min(missing)!r}")
        self._compare(kinds)

    def _compare(self, kinds: dict[str, str]) -> None:
        whole = hashlib.sha256()
        for name in sorted(kinds, key=os.fsencode):
            whole.update(os.fsencode(name) + f"\0{kinds[name]}\0{self.files[name]}\n".encode())
        found = f"sha256:{whole.hexdigest()}"
        if found != self.digest:
            raise WrongDigest(self.archive, "its links or executable bits", self.digest, found)


def code_of(record: Path, known: dict[str, Any]) -> Code:
    """Return the code that a run's manifest names.

    known: the manifest. Raises NoCode if none was recorded, RecordError if it is nonsense.
    """
    code = known.get("code")
    if code is None or any(what.startswith(f"{files.CODE}:") for what in known["missing"]):
        raise NoCode(known["run_id"], known["missing"])
    path = record / files.MANIFEST
    if not isinstance(code, dict) or not _is_code(code):
        raise RecordError(path, "has no digests of the code")
    names = code["files"].keys()
    if stray := next((name for name in names if not files.is_inside(name)), None):
        raise RecordError(path, f"names a file that leads out of its folder: {stray!r}"[:200])
    folders = {str(name[:at]) for name in names for at in _slashes(name)}
    if stray := next((name for name in names if name in folders), None):
        raise RecordError(path, f"names a file that is a folder too: {stray!r}"[:200])
    left_out = code.get("left_out")
    return Code(
        record / files.CODE,
        code["files"],
        without_stores(left_out if isinstance(left_out, dict) else {}),
        code["digest"],
        code["size_bytes"],
    )


def without_stores(left_out: dict[str, Any]) -> dict[str, str]:
    """Return what was left out of a snapshot, but for the store, which nobody misses there."""
    reasons = {str(name): str(why) for name, why in left_out.items()}
    return {name: why for name, why in reasons.items() if why not in OF_A_STORE}


def _slashes(name: str) -> list[int]:
    return [at for at, letter in enumerate(name) if letter == "/"]


def _is_code(code: dict[str, Any]) -> bool:
    found, size = code.get("files"), code.get("size_bytes")
    return (
        isinstance(found, dict)
        and all(map(is_digest, found.values()))
        and is_digest(code.get("digest"))
        and type(size) is int
        and size >= 0
    )


def is_digest(value: Any) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None
