"""Rules of the structure, read from the imports; each has a twin that proves it can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "runback"
HEAVY = {
    *("keras", "tensorflow", "torch", "mlflow", "pytorch_lightning", "lightning", "matplotlib"),
    *("numpy", "pandas"),
}
# What a module may import of ours, by its place; nothing points back.
ALLOWED = {
    "errors": set[str](),
    "locked": set[str](),
    "params": {"errors"},
    "digests": set[str](),
    "determinism": {"errors"},
    "interrupts": set(),
    "terminal": {"errors", "interrupts"},
    "group": set[str](),
    "ui": {"errors", "group"},
    "git": set[str](),
    "dvc": {"dvc", "errors", "git"},
    "record": {"errors", "record"},
    "store": {"dvc", "errors", "locked", "record", "store"},
    "capture": {
        "capture",
        "dvc",
        "errors",
        "git",
        "launch",
        "locked",
        "record",
        "store",
        "terminal",
        "__version__",
    },
    "launch": {"errors", "git", "locked", "terminal", "launch", "store", "ui"},
    "environment": {"errors", "launch"},
    "tracking": {"launch", "terminal"},
    "remote": {"capture", "errors", "locked", "record", "remote", "store"},
    "runs": {"errors", "record", "remote", "runs", "store"},
    "checkpoints": {
        *("capture", "checkpoints", "errors", "launch", "locked", "record", "runs", "store"),
        *("terminal", "tracking"),
    },
    "ledger": {"capture", "digests", "errors", "ledger", "record"},
    "sweep": {"checkpoints", "errors", "group", "params", "store", "sweep"},
    "keras": {"checkpoints", "errors", "ledger", "sweep"},
    "lightning": {"checkpoints", "errors", "ledger"},
    "evidence": {"digests", "errors", "evidence", "record", "store"},
    "replay": {
        *("capture", "dvc", "errors", "evidence", "group", "launch", "locked", "record", "remote"),
        *("replay", "runs", "store", "terminal"),
    },
    "frozen": {"errors", "frozen", "launch", "locked", "record", "replay", "runs", "store"},
    "keepsake": {"errors", "keepsake", "locked", "record", "store"},
    "doctor": {"doctor", "dvc", "errors", "git", "record", "runs", "store"},
    "cli": {
        *(
            "cli",
            "doctor",
            "environment",
            "errors",
            "evidence",
            "frozen",
            "keepsake",
            "launch",
            "record",
        ),
        *("remote", "replay", "runs", "store", "sweep", "terminal", "ui", "__version__"),
    },
    "__main__": {"cli"},
    "__init__": {"checkpoints", "ledger", "runs"},
}
PRINTING = {"cli", "terminal", "launch"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(tree: ast.AST, at_import_time: bool) -> Iterator[str]:
    """Yield the dotted names that a module imports; at its import, or anywhere."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif at_import_time and isinstance(node, ast.FunctionDef | ast.If | ast.Lambda):
            continue
        yield from imports(node, at_import_time)


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def wrong_arrows(path: Path, text: str) -> list[str]:
    """Return the layers of ours that this module imports and may not."""
    found = {
        name.split(".")[1]
        for name in imports(ast.parse(text), False)
        if name.startswith("runback.")
    }
    return sorted(found - ALLOWED[layer(path)])


def heavy_at_import(text: str) -> set[str]:
    return {name.split(".")[0] for name in imports(ast.parse(text), True)} & HEAVY


def prints(text: str) -> bool:
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    names = [f.id if isinstance(f, ast.Name) else ast.unparse(f) for f in calls]
    return bool({"print", "sys.exit", "input"} & set(names))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_point_down(path: Path) -> None:
    assert wrong_arrows(path, path.read_text()) == []


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_imports_stand_in_functions(path: Path) -> None:
    assert heavy_at_import(path.read_text()) == set()


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_edges_print_and_exit(path: Path) -> None:
    assert layer(path) in PRINTING or not prints(path.read_text())


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_the_rules_can_fail() -> None:
    store = PACKAGE / "store" / "create.py"
    assert wrong_arrows(store, "from runback.cli import ui\nimport runback.launch") == [
        "cli",
        "launch",
    ]
    assert heavy_at_import("import os\ntry:\n    import mlflow.keras\nexcept E: pass") == {"mlflow"}
    assert heavy_at_import("def f():\n    import mlflow") == set()
    assert prints("def f():\n    print(1)")
    assert not prints("say(1)")


def heavy_modules_after(command: str) -> set[str]:
    code = f"import sys\n{command}\nprint(*sys.modules)"
    out = subprocess.check_output([sys.executable, "-c", code], cwd=REPOSITORY, text=True)
    return set(out.split()) & HEAVY


def test_command_line_starts_without_a_framework() -> None:
    assert heavy_modules_after("import runback, runback.cli, runback.tracking, train") == set()


def test_that_test_can_fail() -> None:
    assert heavy_modules_after("import numpy") == {"numpy"}
