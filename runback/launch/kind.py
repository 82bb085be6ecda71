"""The environments that the locks can become."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """One of the environments that the locks can become.

    folder: relative to the project. lock: its requirements. overlay: a requirement
    that stands in for those that `replaced` matches; "" for none. needed_bytes: on
    disk, with room to work. download: in words.
    """

    folder: str
    lock: str
    needed_bytes: int
    download: str
    overlay: str = ""
    replaced: str = r"(?!)"

    @property
    def files(self) -> list[str]:
        return [self.lock, self.overlay] if self.overlay else [self.lock]


FULL_CUDA = Kind(".venv", "requirements.txt", 13_000_000_000, "4 GB")
FULL_CPU = Kind(
    ".venv",
    "requirements.txt",
    6_000_000_000,
    "1 GB",
    overlay="docker/torch-cpu.txt",
    replaced=r"(torch==|triton==|nvidia-(?!ml-py)|cuda-)",
)
LIGHT = Kind(".venv-light", "docker/light.txt", 1_500_000_000, "0.2 GB")


def full() -> Kind:
    """Return the full environment for this machine: the CPU build where no driver is."""
    linux_x86 = sys.platform == "linux" and platform.machine() == "x86_64"
    return FULL_CPU if linux_x86 and not has_nvidia_driver() else FULL_CUDA


def has_nvidia_driver() -> bool:
    """Say whether this machine has an NVIDIA driver loaded."""
    return any(Path(p).exists() for p in ("/proc/driver/nvidia/version", "/dev/nvidiactl"))


def digest(root: Path, kind: Kind) -> str:
    """Return the digest of the files that the environment is made from."""
    whole = hashlib.sha256()
    for name in kind.files:
        whole.update((root / name).read_bytes())
    return "sha256:" + whole.hexdigest()


def requirements(text: str) -> list[str]:
    """Return a lock's requirements, each with the lines of its hashes."""
    return re.findall(r"^[A-Za-z0-9].*(?:\n[ \t]+--hash=.*)*", text, flags=re.MULTILINE)


def without_replaced(kind: Kind, text: str) -> str:
    """Return the lock without what the overlay stands in for."""
    kept = [r for r in requirements(text) if not re.match(kind.replaced, r)]
    return "\n".join(kept) + "\n"


def names(text: str) -> set[str]:
    """Return the names of a lock's requirements, normalised (PEP 503)."""
    return {normalised(r.partition("==")[0]) for r in requirements(text)}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
