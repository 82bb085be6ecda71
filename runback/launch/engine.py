"""Find the container engine that answers, and what it can do."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_WITHIN_S = 15
CDI_FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))


@dataclass(frozen=True)
class Engine:
    """A container engine that has answered.

    program: path of the command. storage: its data folder, where that can be known.
    gpu: the arguments that hand over the GPUs; empty where it cannot.
    """

    name: str
    program: str
    version: str
    rootless: bool
    gpu: tuple[str, ...] = ()
    selinux: bool = False
    storage: str = ""


@dataclass(frozen=True)
class Absent:
    """Why an engine cannot be used."""

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


def find(choice: str = "auto", path: str | None = None) -> Engine | Absent:
    """Return the first engine that answers; `choice` is auto or container (any), docker, podman."""
    names = ("docker", "podman") if choice in ("auto", "container") else (choice,)
    absences = []
    for name in names:
        found = ask(name, path)
        if isinstance(found, Engine):
            return found
        absences.append(found)
    installed = [a for a in absences if a.reason != NOT_FOUND]
    return installed[0] if installed else Absent(" or ".join(names), NOT_FOUND)


NOT_FOUND = "not installed"


def ask(name: str, path: str | None = None) -> Engine | Absent:
    """Return what `docker info` or `podman info` says of the engine."""
    program = shutil.which(name, path=path)
    if program is None:
        return Absent(name, NOT_FOUND)
    command = [program, "info", "--format", "{{json .}}"]
    try:
        # DEVNULL: podman pretending to be docker, and sudo wrappers, may read stdin.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return Absent(name, f"no answer in {ANSWER_WITHIN_S} s")
    except OSError as error:
        return Absent(name, f"{program}: {error.strerror}")
    try:
        info = json.loads(done.stdout)
    except ValueError:
        return Absent(name, _first_line(done.stderr) or f"exit status {done.returncode}")
    if "host" in info:
        return _podman(program, info)
    return _docker(program, info, done.stderr)


def _docker(program: str, info: dict[str, Any], stderr: str) -> Engine | Absent:
    # A client without a daemon still prints JSON: exit status 0, version "".
    errors = info.get("ServerErrors") or []
    if errors or not info.get("ServerVersion"):
        return Absent("docker", _first_line(errors[0] if errors else stderr) or "no daemon")
    security = info.get("SecurityOptions") or []
    return Engine(
        name="docker",
        program=program,
        version=info["ServerVersion"],
        rootless=any("name=rootless" in option for option in security),
        selinux=any("name=selinux" in option for option in security),
        gpu=("--gpus", "all") if "nvidia" in (info.get("Runtimes") or {}) else (),
        storage=info.get("DockerRootDir") or "",
    )


def _podman(program: str, info: dict[str, Any]) -> Engine:
    host, store = info["host"], info.get("store") or {}
    return Engine(
        name="podman",
        program=program,
        version=(info.get("version") or {}).get("Version", "?"),
        rootless=bool((host.get("security") or {}).get("rootless")),
        gpu=("--device", "nvidia.com/gpu=all") if _has_nvidia_cdi() else (),
        storage=store.get("graphRoot") or "",
    )


def _has_nvidia_cdi() -> bool:
    return any(any(folder.glob("*nvidia*")) for folder in CDI_FOLDERS)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].replace("ERROR: ", "") if lines else ""
