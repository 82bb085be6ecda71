"""Install a lock into a virtual environment, with pip and by hash only."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from runback.errors import EnvironmentFailed
from runback.launch.kind import normalised, requirements, without_replaced

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from runback.launch.kind import Kind
    from runback.launch.progress import Progress

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def install(root: Path, kind: Kind, python: Path, progress: Progress, again: bool) -> str:
    """Install what the lock says; return the text of what was installed.

    again: also what is installed already. Raises EnvironmentFailed.
    """
    lock, overlay = root / kind.lock, ""
    text = lock.read_text()
    if kind.overlay and _install_overlay(root, kind, python, again):
        overlay = (root / kind.overlay).read_text()
        text = without_replaced(kind, text)
        lock = root / ".runback" / f"{kind.folder[1:]}.txt"
        lock.write_text(text)
    elif kind.overlay:
        progress.note("no CPU build of torch in reach; taking the lock's own (4 GB to download)")
    if not overlay:
        # pip takes torch 2.13.0+cpu for 2.13.0, also where a driver has been installed since.
        uninstall(python, ["torch"] if _has_local_build(root / kind.folder, "torch") else [])
    _pip(root, kind, python, lock, progress, ["--force-reinstall"] if again else [])
    return text + overlay


def _has_local_build(folder: Path, package: str) -> bool:
    return any(folder.glob(f"lib/python3*/site-packages/{package}-*+*.dist-info"))


def _install_overlay(root: Path, kind: Kind, python: Path, again: bool) -> bool:
    """Install the overlay from PIP_FIND_LINKS or PyTorch's index; say whether it was there."""
    base = [*_command(python), "--quiet", "--requirement", str(root / kind.overlay)]
    base += ["--force-reinstall"] if again else []
    places = (["--no-index"], ["--index-url", TORCH_CPU_INDEX, "--retries", "1", "--timeout", "15"])
    for place in places:
        if subprocess.run([*base, *place], capture_output=True).returncode == 0:
            return True
    return False


def _command(python: Path) -> list[str]:
    # --no-deps: the lock is complete, and its cuDNN is not the one torch asks for.
    # --only-binary: a source package would run code that no hash in the lock covers.
    return [
        *(str(python), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
    ]


def _pip(
    root: Path, kind: Kind, python: Path, lock: Path, progress: Progress, options: list[str]
) -> None:
    total, done, lines = len(requirements(lock.read_text())), 0, []
    command = [*_command(python), *options, "--progress-bar", "off", "--requirement", str(lock)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            if match := re.match(r"(?:Collecting|Requirement already satisfied:) (\S+)", line):
                done += 1
                progress.step(done, total, match.group(1))
            elif line.startswith("Installing collected"):
                progress.step(done, total, "unpacking and compiling (about a minute)")
    log = root / ".runback" / f"{kind.folder[1:]}.log"
    log.write_text("".join(lines))
    if pip.returncode:
        raise EnvironmentFailed(root / kind.folder, "pip", log, _last_error(lines))


def _last_error(lines: list[str]) -> str:
    errors = [line.strip() for line in lines if line.startswith("ERROR:")]
    last = errors or [line.strip() for line in lines if line.strip()] or ["no output"]
    return last[-1].replace("ERROR: ", "")


def uninstall(python: Path, packages: Iterable[str]) -> None:
    """Remove packages, by normalised name, that are installed."""
    named = [normalised(name) for name in packages]
    if named:
        command = [str(python), "-I", "-m", "pip", "uninstall", "--yes", "--quiet", *named]
        subprocess.run(command, capture_output=True)
