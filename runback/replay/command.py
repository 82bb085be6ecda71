"""The recorded command, as it is run in another folder: words, working directory, variables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from runback.capture.command import HIDDEN, KEPT, KEPT_PREFIXES
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runback.replay.original import Original

# How a replayed process knows that it is one: capture's tags, runback.init and runback.resume.
REPLAY, ATTEMPT, FROM = "RUNBACK_REPLAY", "RUNBACK_REPLAY_ATTEMPT", "RUNBACK_REPLAY_FROM"
LEDGER, DATA = "RUNBACK_LEDGER", "RUNBACK_DATA"
# Where a run belongs is a matter of now, not of the record.
_OF_NOW = ("MLFLOW_RUN_ID", "MLFLOW_PARENT_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_OF_NOW_PREFIXES = ("SLURM_", "RUNBACK_", "DVC_EXP_", "DVC_ROOT")
# Here, they would make it log into another run, or into none.
_GONE = ("MLFLOW_RUN_ID", "MLFLOW_PARENT_RUN_ID", "MLFLOW_REGISTRY_URI", "RUNBACK_RECORD")
# What no capture records, and would have a stranger's record run something else.
_NAME = re.compile(
    r"(?!LD_|DYLD_|DOCKER_|CONTAINER_|PATH$|HOME$|SHELL$|BASH_ENV$|ENV$)[A-Za-z_]\w*"
)
_OF_PYTHON = ("PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONPATH")
# Of a record of another machine, which device is whose.
_DEVICES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def words(original: Original, code: Path, python: str) -> list[str]:
    """Return the command: with this Python, and paths into the project now into `code`."""
    given: list[str] = original.command["argv"]
    folder = str(Path(given[0]).parent)
    moved = [_moved(original, code, word) for word in given[1:]]
    if "/" in given[0] and "/" in python:
        # A program that came with the environment: …/bin/papermill.
        own, new = f"{folder}/", f"{Path(python).parent}/"
        moved = [new + word[len(own) :] if word.startswith(own) else word for word in moved]
    return [python, *moved]


def folder(original: Original, code: Path) -> Path:
    """Return the working directory; outside of the project, an empty one in its stead."""
    given = original.command.get("working_directory")
    inside = isinstance(given, str) and not given.startswith("/") and ".." not in given.split("/")
    return code / given if inside and isinstance(given, str) else code.parent / "work"


def environ(
    original: Original, code: Path, given: Mapping[str, str], settings: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables: as recorded those that were recorded, the others as they are here.

    given: of this process. settings: what the user wants otherwise. Those that could have
    been recorded, and were not there, are unset.
    """
    recorded, unset = variables(original, code), original.command.get("unset")
    gone = {*_GONE, *(str(name) for name in unset)} if isinstance(unset, list) else {*_GONE}
    kept = {name: value for name, value in given.items() if not _is_recorded(name)}
    kept = {name: value for name, value in kept.items() if name not in gone}
    found = {**kept, **recorded, **settings}
    ours = str(Path(__file__).resolve().parents[2])
    # Last: for an environment in which runback is not installed.
    paths = [*filter(None, found.get("PYTHONPATH", "").split(os.pathsep)), ours]
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    found["PWD"] = str(folder(original, code))
    return found


def variables(original: Original, code: Path) -> dict[str, str]:
    """Return the recorded variables that a replay restores."""
    recorded = part(original.command, "environ")
    return {
        name: _paths(original, code, value) if name == "PYTHONPATH" else value
        for name, value in recorded.items()
        if isinstance(value, str)
        and HIDDEN not in value
        and "\0" not in value
        and _is_restored(name)
        and (original.is_own or name not in _DEVICES)
    }


def _is_restored(name: str) -> bool:
    """Say whether a replay sets a variable that a record has, whoever wrote the record."""
    if name.startswith("PYTHON") and name not in _OF_PYTHON:
        return False
    return bool(_NAME.fullmatch(name)) and (name in (LEDGER, DATA) or not _is_of_now(name))


def _is_of_now(name: str) -> bool:
    return name in _OF_NOW or name.startswith(_OF_NOW_PREFIXES)


def _is_recorded(name: str) -> bool:
    """Say whether the record has the variable, if it was set."""
    if name in (LEDGER, DATA):
        return True
    return (name in KEPT or name.startswith(KEPT_PREFIXES)) and not _is_of_now(name)


def _paths(original: Original, code: Path, value: str) -> str:
    return os.pathsep.join(_moved(original, code, word) for word in value.split(os.pathsep))


def _moved(original: Original, code: Path, word: str) -> str:
    """Return a word with a path in the project as the same path in the replay's folder.

    An output too, which would otherwise take the place of the user's. Not of data, which
    is where it was.
    """
    before, equals, value = word.rpartition("=")
    root = original.project
    if value == root:
        return before + equals + str(code)
    inside = os.path.normpath(value[len(root) + 1 :]) if value.startswith(f"{root}/") else ""
    data = part(original.manifest, "data")
    is_data = any(inside == name or inside.startswith(f"{name}/") for name in data)
    if inside and not is_data and not inside.startswith(".."):
        return before + equals + str(code / inside)
    return word
