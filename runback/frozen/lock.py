"""The recorded lock: its files out of the code, its wheels from an index, by hash."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runback.frozen.contents import WHEELS
from runback.launch import install
from runback.launch.base_python import find_python
from runback.launch.progress import Progress
from runback.replay.environment import lock_kind
from runback.replay.original import part
from runback.runs.errors import WrongDigest

if TYPE_CHECKING:
    from runback.frozen.sink import Sink
    from runback.replay.original import Original


def write(original: Original, folder: Path) -> None:
    """Write the files of the recorded lock into a folder. Raises RecordError."""
    names = lock_kind(original).files
    for entry in original.code.entries():
        if entry.name in names:
            content, expected = b"".join(entry.blocks()), original.code.files[entry.name]
            found = f"sha256:{hashlib.sha256(content).hexdigest()}"
            if found != expected:
                raise WrongDigest(entry.archive, entry.name, expected, found)
            (folder / entry.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / entry.name).write_bytes(content)


def minor(version: str) -> str:
    """Return `3.11` of `3.11.9`."""
    return ".".join(version.split(".")[:2])


def here() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def freeze(original: Original, work: Path, sink: Sink) -> None:
    """Download the wheels of the recorded lock, and write them. work: a folder for that.

    Raises DownloadFailed, EnvironmentMissing.
    """
    wheels = work / WHEELS
    wheels.mkdir()
    write(original, work)
    recorded = minor(str(part(original.manifest, "environment").get("python") or ""))
    version = "" if recorded in ("", here()) else recorded
    python = _with_pip(work)
    install.download(work, lock_kind(original), python, wheels, Progress(), version)
    for path in sorted(wheels.iterdir()):
        sink.add_file(f"{WHEELS}/{path.name}", path)
        path.unlink()


def _with_pip(work: Path) -> Path:
    """Return a Python that has pip: this one, or a new environment's."""
    if importlib.util.find_spec("pip"):
        return Path(sys.executable)
    command = [find_python(), "-m", "venv", str(work / "pip")]
    subprocess.run(command, check=True, capture_output=True)
    return work / "pip" / "bin" / "python"
