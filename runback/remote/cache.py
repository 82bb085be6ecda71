"""Where mirrors of servers are: folders of this user's cache, made and read by nobody else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runback.record import files
from runback.remote import address

if TYPE_CHECKING:
    from collections.abc import Mapping

ABOUT = "server.json"


def folder_of(uri: str) -> Path:
    """Return where the mirror of a server is, or will be: told apart by the whole URI."""
    import hashlib
    import re

    where = address.shown(uri).partition("://")[2] or uri
    name = re.sub(r"[^A-Za-z0-9.]+", "-", where).strip("-.")[-40:]
    return _home(os.environ) / f"{name}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


def make(uri: str) -> Path:
    """Return the mirror's folder, made if missing; only its owner can look into it."""
    root = folder_of(uri)
    root.parent.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root.parent, root, root / ".runback"):
        folder.mkdir(mode=0o700, exist_ok=True)
    return root


def note(root: Path, uri: str) -> None:
    """Write down which server a mirror is of; one process at a time."""
    if not (root / ".runback" / ABOUT).exists():
        files.write_json(root / ".runback" / ABOUT, {"format": files.FORMAT, "uri": uri})


def is_mirror(root: Path) -> bool:
    """Say whether a store's folder is a mirror: by its place, which no copied file can claim."""
    return os.path.realpath(root.parent) == str(_home(os.environ))


def uri_of(root: Path) -> str:
    """Return which server a mirror is of. Raises RecordError."""
    return str(files.read_json(root / ".runback" / ABOUT)["uri"])


def _home(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_CACHE_HOME") or "")
    cache = given if given.is_absolute() else Path.home() / ".cache"
    return Path(os.path.realpath(cache / "runback"))
