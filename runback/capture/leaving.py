"""Decide which files are no part of a project's code: secrets, results, what is installed."""

from __future__ import annotations

import os
from collections import deque
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Without git: how many files to take, and how many entries to look at for them.
WALK_FILES_MAX = 5_000
WALK_ENTRIES_MAX = 100_000

SECRETS = (
    *(".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "*.jks"),
    *("id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pypirc", ".npmrc", ".pgpass"),
    *("credentials", "credentials.json", "*service-account*.json", "secrets.*"),
    ".git-credentials",
)
NO_SECRETS = (".env.example",)
# Wherever they lie, nothing in them is this project's code.
RESULTS = {"mlruns": "MLflow's artifacts", "mlartifacts": "MLflow's artifacts"}
INSTALLED = {
    "__pycache__": "compiled by Python",
    "node_modules": "installed packages",
    "site-packages": "installed packages",
}
# Without a .gitignore to say so.
WALK_SKIPPED = {
    *RESULTS,
    *INSTALLED,
    *("build", "checkouts", "dist", "env", "outputs", "replays", "venv"),
}
CODE_SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".ipynb", ".sh", ".bash", ".r", ".jl", ".sql"}
SOURCE_SUFFIXES = {
    *CODE_SUFFIXES,
    *(".yaml", ".yml", ".toml", ".json", ".jsonnet", ".cfg", ".ini", ".conf", ".gin"),
    *(".txt", ".md", ".rst", ".csv", ".lock", ".in"),
    *(".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".proto"),
}
SOURCE_NAMES = ("Dockerfile*", "Makefile", "Pipfile", "Procfile", "Snakefile", "LICENSE*")


def reason(path: str, tracked: bool = True) -> tuple[str, str] | None:
    """Return what to leave out because of its name, and why: the path, or a folder around it.

    tracked: whether somebody has put the file under version control, which makes
    an odd folder part of the project.
    """
    folder, _, name = path.rpartition("/")
    if found := _folder(folder, tracked):
        return found
    if is_secret(name):
        return path, "may hold a secret"
    return (path, "MLflow's database") if name.startswith("mlflow.db") else None


def is_secret(name: str) -> bool:
    """Say whether a file of this name is likely to hold a secret."""
    lower = name.lower()
    return lower not in NO_SECRETS and any(fnmatchcase(lower, pattern) for pattern in SECRETS)


def is_source(name: str) -> bool:
    """Say whether a file of this name is likely to be written by hand."""
    return PurePosixPath(name).suffix.lower() in SOURCE_SUFFIXES or any(
        fnmatchcase(name, pattern) for pattern in SOURCE_NAMES
    )


def is_code(name: str) -> bool:
    """Say whether a file of this name is a program, or a module of one."""
    return PurePosixPath(name).suffix.lower() in CODE_SUFFIXES


def environments(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the folders, with a slash, of the virtual environments among the paths."""
    return tuple(path.removesuffix("pyvenv.cfg") for path in paths if path.endswith("/pyvenv.cfg"))


def walk(root: Path) -> tuple[list[str], dict[str, str]]:
    """Return a folder's likely source, and why not more; for where git cannot tell.

    The nearest files first, so that in a home directory the script's neighbours
    come before what lies deep.
    """
    found, left_out, seen = list[str](), dict[str, str](), 0
    folders = deque([""])
    while folders:
        place = folders.popleft()
        files, inner = _entries(root, place)
        seen += len(files) + len(inner)
        found += files
        folders.extend(inner)
        if len(found) > WALK_FILES_MAX or seen > WALK_ENTRIES_MAX:
            left_out["…"] = f"everything after {min(len(found), WALK_FILES_MAX)} files: no git here"
            break
    return found[:WALK_FILES_MAX], left_out


def _entries(root: Path, place: str) -> tuple[list[str], list[str]]:
    """Return the files to take of a folder, and the folders to look into, both in order."""
    files, folders = list[str](), list[str]()
    try:
        with os.scandir(root / place) as entries:
            for entry in entries:
                path = f"{place}/{entry.name}" if place else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders += [path] if _is_worth_a_look(entry) else []
                elif is_source(entry.name) or is_secret(entry.name):
                    files.append(path)
    except OSError:
        return [], []
    return sorted(files), sorted(folders)


def _is_worth_a_look(folder: os.DirEntry[str]) -> bool:
    if folder.name.startswith(".") or folder.name in WALK_SKIPPED:
        return False
    return not os.path.lexists(os.path.join(folder.path, "pyvenv.cfg"))  # noqa: PTH118


@lru_cache(maxsize=4096)
def _folder(folder: str, tracked: bool) -> tuple[str, str] | None:
    parts = folder.split("/")
    odd = RESULTS if tracked else RESULTS | INSTALLED
    for end, part in enumerate(parts, start=1):
        if part in odd:
            return "/".join(parts[:end]) + "/", odd[part]
    return None
