"""Name a store, so that each knows which records it may write.

The name is kept in `.runback/` beside the database, which does not travel. If it was
copied along all the same, the copy notices (its folder is another one) and takes a
new name: two writers of one file would lose edits.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from runback.locked import locked
from runback.record import files

if TYPE_CHECKING:
    from pathlib import Path


def store_id(root: Path) -> str:
    """Return the name of the store in the folder `root`, like `gpuserver-1a2b3c4d`."""
    folder = private_folder(root)
    path = folder / "store.json"
    with locked(folder / "identity.lock"):
        known = _read(path)
        # Not the path: a container may see the folder elsewhere. Moving keeps the inode.
        inode = folder.stat().st_ino
        if known and known.get("inode") == inode and isinstance(known.get("id"), str):
            return str(known["id"])
        for left_over in (folder / "running").glob("*"):  # of the store that this is a copy of
            left_over.unlink()
        import secrets

        chosen = f"{host_name()}-{secrets.token_hex(4)}"
        files.replace(path, json.dumps({"id": chosen, "inode": inode}).encode())
        return chosen


def known_id(root: Path) -> str:
    """Return the store's name if it has one; "new" if it was never indexed."""
    return str((_read(root / ".runback" / "store.json") or {}).get("id", "new"))


def host_name() -> str:
    """Return this machine's name, in a container that of its host, fit for the name of a file."""
    import socket  # half of what `runback ls` would import

    name = os.environ.get("RUNBACK_HOST") or socket.gethostname()
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:60] or "store"


def private_folder(root: Path) -> Path:
    """Return `.runback/` of the store, made if missing; git does not see it."""
    folder = root / ".runback"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")
    return folder


def _read(path: Path) -> dict[str, object] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
