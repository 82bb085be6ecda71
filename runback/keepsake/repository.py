"""Find a Keepsake repository on this machine, and say where in it things lie.

Format 1: a JSON file for each experiment, with its checkpoints in it, and a tar.gz for
the files of each experiment and each checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from runback.errors import RecordError
from runback.keepsake.errors import NoKeepsake, RemoteRepository, RepositoryError
from runback.record import files

FORMAT = 1
# Keepsake was called replicate before 0.4, and its key `storage`.
CONFIGS = ("keepsake.yaml", "keepsake.yml", "replicate.yaml", "replicate.yml")
KEYS = ("repository", "storage")
FOLDERS = (".keepsake", ".replicate/storage")


@dataclass(frozen=True)
class Repository:
    """The folder of a repository."""

    root: Path

    def experiments(self) -> list[Path]:
        return sorted((self.root / "metadata" / "experiments").glob("*.json"))

    def heartbeat(self, experiment_id: str) -> Path:
        return self.root / "metadata" / "heartbeats" / f"{experiment_id}.json"

    def code(self, experiment_id: str) -> Path:
        return self.root / "experiments" / f"{experiment_id}.tar.gz"

    def checkpoint(self, checkpoint_id: str) -> Path:
        return self.root / "checkpoints" / f"{checkpoint_id}.tar.gz"


def find(given: str | None, here: Path) -> Repository:
    """Return the repository that is meant.

    given: a folder, its file:// address, or the folder of a project that has one; None
    for the project that `here` is in. Raises NoKeepsake, RemoteRepository, RepositoryError.
    """
    if given is None:
        found = next(filter(None, map(_of_project, (here, *here.parents))), None)
        if found is None:
            raise NoKeepsake(here, f"neither {CONFIGS[0]} nor {FOLDERS[0]}/ here or above")
    else:
        found = _folder(given, here)
        if not _is_repository(found):
            found = _of_project(found) or found
    if not _is_repository(found):
        raise NoKeepsake(found, "neither repository.json nor metadata/experiments/")
    _refuse_newer(found / "repository.json")
    return Repository(found)


def _of_project(folder: Path) -> Path | None:
    """Return the repository of the project in this folder, None if it has none."""
    for path in (folder / name for name in CONFIGS):
        if path.is_file():
            return _folder(_configured(path), folder)
    return next((folder / name for name in FOLDERS if _is_repository(folder / name)), None)


def _configured(path: Path) -> str:
    import yaml

    try:
        content = yaml.safe_load(files.read(path, files.LARGEST_JSON_BYTES))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RepositoryError(path, "is not YAML: " + " ".join(str(error).split())) from error
    values: Any = content if isinstance(content, dict) else {}
    found = next((values[key] for key in KEYS if values.get(key)), None)
    if not isinstance(found, str):
        raise RepositoryError(path, f"names no {KEYS[0]}")
    return found


def _folder(address: str, base: Path) -> Path:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return base / address
    if scheme in ("s3", "gs"):
        raise RemoteRepository(address)
    if scheme != "file":
        raise RepositoryError(address, "is no address of a repository")
    return base / unquote(rest)


def _is_repository(folder: Path) -> bool:
    return (folder / "repository.json").is_file() or (folder / "metadata" / "experiments").is_dir()


def _refuse_newer(path: Path) -> None:
    """Raise RepositoryError for a later format. Damage of this one file matters to nobody."""
    try:
        content = json.loads(files.read(path, files.LARGEST_JSON_BYTES))
    except (RecordError, ValueError, RecursionError):
        return
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise RepositoryError(path, f"says version {version}; this runback reads {FORMAT}")
