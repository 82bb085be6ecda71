"""Find the folder of a store by what a person calls it, and mirror it there if it is a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runback.remote import address, cache

if TYPE_CHECKING:
    from collections.abc import Callable


def quiet(message: str) -> None:
    """Say nothing."""


def root_of(name: str | os.PathLike[str] | None = None, say: Callable[[str], None] = quiet) -> Path:
    """Return the absolute folder of a store; of a server, that of its mirror, up to date.

    name: a folder or a URI; None is what `address.default` finds. say: told when it
    takes long. Raises ServerError, StoreError.
    """
    if name is None:
        found = address.default(os.environ, Path.cwd())
    else:
        found = address.parse(os.fspath(name), Path.cwd())
    return found.absolute() if isinstance(found, Path) else _mirrored(found, say)


def refresh(root: Path) -> None:
    """Bring a mirror up to date; a store of this machine always is. Raises ServerError."""
    if cache.is_mirror(root):
        _mirrored(cache.uri_of(root), quiet)


def _mirrored(uri: str, say: Callable[[str], None]) -> Path:
    from runback.remote.mirror import update

    return update(uri, say)
