"""Look at what the training has imported already, and import nothing."""

from __future__ import annotations

import sys
from typing import Any

# What a framework raises where an attribute is gone, moved, or not ready yet.
UNREADABLE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(OSError, RuntimeError, TypeError, ValueError),
)


def module(name: str) -> Any:
    """Return a module that is imported to its end, or None.

    The main thread may be in the middle of the import while another one looks.
    """
    found = sys.modules.get(name)
    # Any look into a module that importlib.util.LazyLoader made would import it.
    if found is None or type(found).__name__ == "_LazyModule":
        return None
    spec = getattr(found, "__spec__", None)
    return None if getattr(spec, "_initializing", False) else found


def read(name: str, path: str) -> Any:
    """Return the attribute `path` (dotted) of a loaded module, or None."""
    found = module(name)
    try:
        for part in path.split("."):
            found = getattr(found, part)
    except UNREADABLE:
        return None
    return found


def call(name: str, path: str) -> Any:
    """Return what the function `path` of a loaded module returns, or None."""
    function = read(name, path)
    if not callable(function):
        return None
    try:
        return function()
    except UNREADABLE:
        return None


def files() -> set[str]:
    """Return the absolute paths of the files that modules were imported from."""
    found = set[str]()
    for entry in list(sys.modules.values()):
        try:
            # Not getattr, which may import: of a lazy module, and of some that stand in for one.
            path = object.__getattribute__(entry, "__dict__").get("__file__")
        except AttributeError:
            continue
        if isinstance(path, str) and path.startswith("/") and type(entry).__name__ != "_LazyModule":
            found.add(path)
    return found


def plain(value: object) -> str | int | float | bool | None:
    """Return a value as JSON knows it."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)
