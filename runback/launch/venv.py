"""Make a virtual environment from the lock, keep it right, and find it again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

from runback.errors import DiskFull, EnvironmentDrift, EnvironmentFailed, NotOurs
from runback.launch.base_python import find_python, fits
from runback.launch.install import install, uninstall
from runback.launch.kind import digest, names, normalised
from runback.locked import locked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runback.launch.kind import Kind
    from runback.launch.progress import Progress


def stamp(root: Path, kind: Kind) -> dict[str, Any]:
    """Return what was written down when the environment was complete; {} if it never was."""
    try:
        return dict(json.loads(_stamp_file(root, kind).read_text()))
    except (OSError, ValueError):
        return {}


def is_ready(root: Path, kind: Kind) -> bool:
    """Say whether the environment is there, complete, made here and from today's lock."""
    made = stamp(root, kind)
    return made.get("lock") == digest(root, kind) and _is_sound(root, kind, made)


def _is_sound(root: Path, kind: Kind, made: dict[str, Any]) -> bool:
    """Say whether what the stamp is of still stands.

    The scripts name the folder that they were made in, and the packages are in a folder
    named after Python's version: a moved project and an upgraded system need another one.
    """
    library = root / kind.folder / "lib" / f"python{made.get('python')}"
    in_place = made.get("folder") == str(root / kind.folder) and library.is_dir()
    return in_place and python(root, kind).exists()


def python(root: Path, kind: Kind) -> Path:
    return root / kind.folder / "bin" / "python"


def drifts(root: Path, kind: Kind) -> list[str]:
    """Return how the installed names and versions differ from those at its making.

    One listing of site-packages: `runback verify --deep` looks into the files.
    What the user has installed besides is theirs, and no drift.
    """
    then = _packages(stamp(root, kind))
    now = installed(root, kind)
    return [
        f"{name} {version}: " + (f"{now[name]} is installed" if name in now else "not installed")
        for name, version in sorted(then.items())
        if now.get(name) != version
    ]


def _packages(stamp: dict[str, Any]) -> dict[str, str]:
    return dict(stamp.get("packages") or {})


def installed(root: Path, kind: Kind) -> dict[str, str]:
    """Return name and version of every installed distribution, names normalised (PEP 503)."""
    found = {}
    for folder in (root / kind.folder).glob("lib/python3*/site-packages/*.dist-info"):
        name, _, version = folder.name[: -len(".dist-info")].rpartition("-")
        found[normalised(name)] = version
    return found


def variables(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a command in the virtual environment `folder`."""
    wanted = {name: value for name, value in given.items() if name != "PYTHONHOME"}
    paths = [str(folder / "bin"), *given.get("PATH", os.defpath).split(os.pathsep)]
    return {**wanted, "VIRTUAL_ENV": str(folder), "PATH": os.pathsep.join(dict.fromkeys(paths))}


def ensure(
    root: Path, kind: Kind, progress: Progress, repair: bool = False, wheels: Path | None = None
) -> None:
    """Make the environment, or bring it up to a changed lock; return at once if it is right.

    Several at a time: one makes it, the others wait. Killed half way, it is made anew
    (pip keeps what was downloaded). wheels: a folder to take all packages from.
    Raises EnvironmentMissing, DiskFull, EnvironmentFailed, EnvironmentDrift, NotOurs.
    """
    if is_ready(root, kind) and not repair:
        if found := drifts(root, kind):
            raise EnvironmentDrift(root / kind.folder, found)
        _link_project(root, kind)  # one that an earlier version made has no link yet
        return
    lock = root / ".runback" / f"{kind.folder[1:]}.lock"
    # A pip that outlives us, since we were killed alone, is still at work there.
    with locked(lock, progress.waiting, is_inherited=True):
        if not is_ready(root, kind) or repair:
            _make(root, kind, progress, repair, wheels)


def _make(root: Path, kind: Kind, progress: Progress, repair: bool, wheels: Path | None) -> None:
    folder, began_s = root / kind.folder, time.monotonic()
    _check_room(folder, kind)
    progress.begin(kind.folder, kind.lock, "" if wheels else kind.download)
    before = stamp(root, kind)
    if folder.exists() and not before and not _marker(root, kind).exists():
        raise NotOurs(folder)
    # While it stands, the environment is half made; the stamp is gone as long.
    _marker(root, kind).write_text(json.dumps(before))
    _stamp_file(root, kind).unlink(missing_ok=True)
    if not _is_sound(root, kind, before) or not fits(python(root, kind)):
        _create(root, kind)
    try:
        lock = install(root, kind, python(root, kind), progress, repair, wheels)
    except EnvironmentFailed:
        if before:  # pip gave up before it changed anything: what was there still works
            _stamp_file(root, kind).write_text(json.dumps(before))
        raise
    # What an earlier lock brought and this one does not; the user's own additions stay.
    uninstall(python(root, kind), _packages(before).keys() - names(lock))
    (folder / "lock.txt").write_text(lock)  # what `runback verify` compares with
    _link_project(root, kind)
    _write_stamp(root, kind, names(lock))
    _marker(root, kind).unlink()
    progress.end(kind.folder, time.monotonic() - began_s)


def _create(root: Path, kind: Kind) -> None:
    base = find_python()
    folder = root / kind.folder
    command = [base, "-m", "venv", "--clear", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, close_fds=False)
    if done.returncode:
        log = root / ".runback" / f"{kind.folder[1:]}.log"
        log.write_text(done.stdout + done.stderr)
        last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no output"]
        raise EnvironmentFailed(folder, f"{base} -m venv", log, last[0])


def _link_project(root: Path, kind: Kind) -> None:
    """Put the project on the path of the environment's Python, however that is started.

    An editor starts it without our PYTHONPATH, and MLflow then finds no runback.dist-info.
    """
    for packages in (root / kind.folder).glob("lib/python3*/site-packages"):
        # Relative: Python reads the file in the locale's encoding, which may not have the name.
        link, text = packages / "runback.pth", os.path.relpath(root, packages).encode() + b"\n"
        # Where it cannot be written, commands of run_script.bash still have PYTHONPATH.
        with contextlib.suppress(OSError):
            if not link.exists() or link.read_bytes() != text:
                link.write_bytes(text)


def _check_room(folder: Path, kind: Kind) -> None:
    free = shutil.disk_usage(folder.parent).free
    have = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
    if free + have < kind.needed_bytes:
        raise DiskFull(folder.parent, free, kind.needed_bytes, kind.folder)


def _stamp_file(root: Path, kind: Kind) -> Path:
    return root / kind.folder / "runback.json"


def _marker(root: Path, kind: Kind) -> Path:
    return root / ".runback" / f"{kind.folder[1:]}.unfinished"


def _write_stamp(root: Path, kind: Kind, asked_for: set[str]) -> None:
    packages = {n: v for n, v in sorted(installed(root, kind).items()) if n in asked_for}
    draft = _stamp_file(root, kind).with_suffix(".draft")
    library = next((root / kind.folder / "lib").glob("python3*"))
    content = {
        "lock": digest(root, kind),
        "folder": str(root / kind.folder),
        "python": library.name.removeprefix("python"),
        "packages": packages,
    }
    draft.write_text(json.dumps(content, indent=1))
    draft.rename(_stamp_file(root, kind))
