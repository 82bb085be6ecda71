"""Compare the environment that runs this with a lock: names, versions, every file."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import LockMissing
from runback.launch.kind import normalised, requirements

if TYPE_CHECKING:
    from collections.abc import Iterator

# Part of every virtual environment, or of the project: not the lock's to name.
UNLOCKED = {"pip", "runback"}


@dataclass(frozen=True)
class Comparison:
    """What a lock and an environment disagree on; all empty is agreement.

    wrong: `name 1.0: 2.0 is installed` or `…: not installed`. extra: installed, and not
    in the lock. damaged: files that are not what their package's RECORD says.
    """

    packages: int
    files: int
    wrong: tuple[str, ...]
    extra: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not (self.wrong or self.damaged)


def own_lock() -> Path:
    """Return the lock that the running environment was made from, which it carries."""
    return Path(sys.prefix) / "lock.txt"


def compare(lock: Path, deep: bool = False) -> Comparison:
    """Compare the running environment with a lock.

    deep: also read every installed file, some 64,000 of 4 to 8 GB.
    Raises LockMissing if there is no such file.
    """
    try:
        wanted = dict(pins(lock.read_text()))
    except OSError as error:
        raise LockMissing(lock, error.strerror or "unreadable") from error
    found = {normalised(d.metadata["Name"]): d for d in distributions()}
    wrong = tuple(_disagreements(wanted, {n: d.version for n, d in found.items()}))
    extra = tuple(sorted(found.keys() - wanted.keys() - UNLOCKED))
    files, damaged = 0, list[str]()
    for name in sorted(found.keys() & wanted.keys()) if deep else ():
        for path, whole in _files(found[name]):
            files += 1
            if not whole:
                damaged.append(f"{name}: {path}")
    return Comparison(len(wanted), files, wrong, extra, tuple(damaged))


def pins(lock: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of the requirements that apply to this Python and machine."""
    from packaging.requirements import Requirement

    for text in requirements(lock):
        requirement = Requirement(text.partition("\\")[0].partition("--hash")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate():
            yield normalised(requirement.name), str(requirement.specifier).removeprefix("==")


def _disagreements(wanted: dict[str, str], found: dict[str, str]) -> Iterator[str]:
    for name, version in sorted(wanted.items()):
        if name not in found:
            yield f"{name} {version}: not installed"
        elif found[name] != version:
            yield f"{name} {version}: {found[name]} is installed"


def _files(distribution: Distribution) -> Iterator[tuple[str, bool]]:
    """Yield each file that RECORD lists with a digest, and whether it is whole (PEP 376)."""
    record = distribution.read_text("RECORD") or ""
    for path, digest, _size in csv.reader(io.StringIO(record)):
        algorithm, _, expected = digest.partition("=")
        if algorithm:
            yield path, _digest(Path(str(distribution.locate_file(path))), algorithm) == expected


def _digest(path: Path, algorithm: str) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).digest()
    except OSError:
        return "unreadable"
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
