"""A program's source files, parsed and never imported, with the full names of what they call."""

from __future__ import annotations

import ast
import functools
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES_MAX = 1000
FILE_MAX_BYTES = 1_000_000
# Not the program's own: a training does not run them.
_SKIPPED = {"site-packages", "node_modules", "__pycache__", "mlruns", "tests", "test", "docs"}


@dataclass(frozen=True)
class Source:
    """A file. path: relative to the code. names: what each imported name stands for, dotted."""

    path: str
    lines: list[str]
    tree: ast.Module
    names: dict[str, str] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def line(self, node: ast.AST) -> tuple[int, str]:
        """Return the number of a node's line, from 1, and what stands there."""
        number = getattr(node, "lineno", 1)
        text = self.lines[number - 1] if number <= len(self.lines) else ""
        return number, text.strip()[:200]

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield each call with its full name, "" where that is unknown."""
        for node in self._all:
            if isinstance(node, ast.Call):
                yield self.name(node.func), node

    def nodes(self) -> list[ast.AST]:
        return self._all

    @functools.cached_property
    def _all(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def name(self, node: ast.AST) -> str:
        """Return the full dotted name of an imported thing, or of a builtin; else ""."""
        parts = list[str]()
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        root = self.names.get(node.id, node.id if not parts else "")
        whole = ".".join([root, *reversed(parts)]) if root else ""
        return whole.removeprefix("tensorflow.") if ".keras." in whole else whole

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what is around a node, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            yield node


def read(root: Path, script: str | None = None) -> list[Source]:
    """Return the .py files of a program that parse, in the order of their paths.

    script: relative to root; then only what it imports from there, and what that
    imports. Else all of them but tests and documentation.
    """
    found = {}
    for path in _paths(root):
        if source := parse(root, path):
            found[path] = source
    reached = _reached(found, script) if script in found else found
    return [found[path] for path in sorted(reached)]


def parse(root: Path, path: str) -> Source | None:
    """Return a file, None if it cannot be read or is no Python of this version."""
    try:
        if (root / path).stat().st_size > FILE_MAX_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in a stranger's strings
            text = (root / path).read_text()
            tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    parents = {inner: node for node in ast.walk(tree) for inner in ast.iter_child_nodes(node)}
    return Source(path, text.splitlines(), tree, dict(_imports(tree)), parents)


def _paths(root: Path) -> list[str]:
    found = list[str]()
    for folder, folders, names in os.walk(root):
        inner = Path(folder).relative_to(root)
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED and not name.startswith(".") and not _is_other(folder, name)
        )
        found += [(inner / name).as_posix() for name in sorted(names) if _is_own(name)]
        if len(found) > FILES_MAX:
            break
    return found[:FILES_MAX]


def _is_other(folder: str, name: str) -> bool:
    """Say whether a folder is a virtual environment, or Runback itself."""
    marks = ("pyvenv.cfg", "capture/provider.py")
    return any(Path(folder, name, mark).exists() for mark in marks)


def _is_own(name: str) -> bool:
    return name.endswith(".py") and not name.startswith("test_") and name != "conftest.py"


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    alias.asname or alias.name.split(".")[0],
                    (alias.name if alias.asname else alias.name.split(".")[0]),
                )
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _reached(found: dict[str, Source], script: str | None) -> set[str]:
    """Return what the script imports, and what that imports; all of it if names are computed."""
    reached, waiting = set[str](), [script or ""]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        if any(name == "importlib.import_module" for name, _ in found[path].calls()):
            return set(found)
        waiting += _imported(found, path, script or "")
    return reached


def _imported(found: dict[str, Source], path: str, script: str) -> Iterator[str]:
    """Yield the files that a file imports: beside it, above it, or beside the script.

    Somewhere else if there is none: a program can put any folder on its path. An import
    runs the `__init__` of every package above.
    """
    folders = {*Path(path).parents, Path(script).parent}
    for words in _modules(found[path].tree):
        for end in range(1, len(words) + 1):
            place = Path(*words[:end])
            names = [place.with_suffix(".py").as_posix(), (place / "__init__.py").as_posix()]
            beside = {(folder / name).as_posix() for folder in folders for name in names}
            ends = tuple(f"/{name}" for name in names)
            yield from beside & found.keys() or [name for name in found if name.endswith(ends)]


def _modules(tree: ast.Module) -> Iterator[list[str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            yield from ([*base, alias.name] for alias in node.names if alias.name != "*")
            if base:
                yield base
