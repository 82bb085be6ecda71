"""Tell which software runs: Python, system, every installed distribution by its RECORD."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.launch.kind import normalised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
CONTAINER_GROUPS = (b"docker", b"kubepods", b"containerd", b"libpod", b"lxc")


def describe(prefix: Path | None = None, path: Sequence[str] | None = None) -> dict[str, Any]:
    """Return Python, system, packages, and which lock and image they came from.

    prefix: where the lock lies that the environment was made from; path: where
    packages are looked for. This process's own where None.
    """
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "os": _system(),
        "packages": installed(sys.path if path is None else path),
        "lock": _digest(Path(prefix or sys.prefix) / "lock.txt"),
        "image": os.environ.get("RUNBACK_IMAGE_ID"),
        "in_container": in_container(),
    }


def installed(path: Sequence[str]) -> dict[str, str]:
    """Return `version sha256:…` (of RECORD) by normalised name; the first on the path wins.

    Without the scripts that RECORD lists: they hold the path of their environment.
    `version` alone where there is no RECORD, `version editable` where the package's
    code lies elsewhere and RECORD says nothing about it.
    """
    found = dict[str, str]()
    for folder in dict.fromkeys(path):
        for name, version, about in sorted(_distributions(folder or ".")):
            if name not in found:
                found[name] = " ".join(filter(None, (version, _record(about))))
    return dict(sorted(found.items()))


def in_container() -> bool:
    """Say whether this process runs in a container."""
    if any(Path(mark).exists() for mark in CONTAINER_MARKS):
        return True
    groups = _bytes(Path("/proc/self/cgroup")) or b""
    return any(name in groups for name in CONTAINER_GROUPS)


def _system() -> dict[str, str | None]:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        name = None
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        libc = None  # musl, macOS
    kernel = os.uname().release
    return {"platform": sysconfig.get_platform(), "name": name, "kernel": kernel, "libc": libc}


def _distributions(folder: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and metadata folder, from the names of folders alone: fast."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith("-info")]
    except OSError:  # a zip file, or not there
        return
    for entry in names:
        stem, _, kind = entry.rpartition(".")
        name, _, version = stem.partition("-")
        # name-1.0-py3.11.egg-info; and a source folder's has no version in its name.
        version = version.partition("-py")[0] or _version(Path(folder, entry))
        # pip renames what it could not remove to ~ame.
        if kind in ("dist-info", "egg-info") and name and not name.startswith("~"):
            yield normalised(name), version, os.path.join(folder, entry)  # noqa: PTH118


def _record(about: str) -> str:
    """Return `editable`, the digest of RECORD, or nothing."""
    direct = _bytes(Path(about, "direct_url.json")) or b""
    if b'"editable":true' in direct.replace(b" ", b""):
        return "editable"
    record = _bytes(Path(about, "RECORD"))
    return "" if record is None else _sha256(_without_scripts(record))


def _without_scripts(record: bytes) -> bytes:
    """Return RECORD without its lines that begin with ../; of a hundred packages in 20 ms."""
    first, *rest = (b"\n" + record).split(b"\n../")
    return b"".join([first, *(b"".join(part.partition(b"\n")[1:]) for part in rest)])[1:]


def _version(about: Path) -> str:
    """Return the version that a metadata folder without one in its name tells, or ""."""
    text = _bytes(about / "METADATA") or _bytes(about / "PKG-INFO") or b""
    lines = [line for line in text.splitlines() if line.startswith(b"Version:")]
    return lines[0].partition(b":")[2].strip().decode(errors="replace") if lines else ""


def _digest(path: Path) -> str | None:
    data = _bytes(path)
    return None if data is None else _sha256(data)


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
