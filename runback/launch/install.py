"""Install a lock into a virtual environment, with pip and by hash only."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from runback.errors import DownloadFailed, EnvironmentFailed
from runback.launch.kind import normalised, requirements, without_replaced

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from runback.launch.kind import Kind
    from runback.launch.progress import Progress

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Where an overlay is looked for, in this order: PIP_FIND_LINKS, PyTorch's own index.
OVERLAY_PLACES = (
    ("--no-index",),
    ("--index-url", TORCH_CPU_INDEX, "--retries", "1", "--timeout", "15"),
)


def install(
    root: Path, kind: Kind, python: Path, progress: Progress, again: bool, wheels: Path | None
) -> str:
    """Install what the lock says; return the text of what was installed.

    again: also what is installed already. wheels: a folder to take everything from, and
    nothing from anywhere else. Raises EnvironmentFailed.
    """
    lock, overlay = root / kind.lock, ""
    text, place = lock.read_text(), _only(wheels)
    options = [*(["--force-reinstall"] if again else []), *place]
    if kind.overlay and _is_overlay_had(root, kind, python, "install", options, bool(wheels)):
        overlay = (root / kind.overlay).read_text()
        text = without_replaced(kind, text)
        lock = root / ".runback" / f"{kind.folder[1:]}.txt"
        lock.write_text(text)
    elif kind.overlay:
        progress.note("no CPU build of torch in reach; taking the lock's own (4 GB to download)")
    if not overlay:
        # pip takes torch 2.13.0+cpu for 2.13.0, also where a driver has been installed since.
        uninstall(python, ["torch"] if _has_local_build(root / kind.folder, "torch") else [])
    status, lines = _followed([*_command(python), *options], lock, progress)
    log = root / ".runback" / f"{kind.folder[1:]}.log"
    log.write_text("".join(lines))
    if status:
        raise EnvironmentFailed(root / kind.folder, "pip", log, _last_error(lines))
    return text + overlay


def download(
    root: Path, kind: Kind, python: Path, to: Path, progress: Progress, version: str
) -> None:
    """Put the wheels of what `install` would install into the folder `to`.

    python: one with pip. version: of the Python that the wheels are for, "" for that one.
    Raises DownloadFailed.
    """
    lock = root / kind.lock
    options = ["--dest", str(to), *(["--python-version", version] if version else [])]
    if kind.overlay and _is_overlay_had(root, kind, python, "download", options):
        text = without_replaced(kind, lock.read_text())
        lock = lock.with_name(f"{lock.name}.rest")
        lock.write_text(text)
    status, lines = _followed([*_command(python, "download"), *options], lock, progress)
    if status:
        raise DownloadFailed(_last_asked(lines), _last_error(lines))


def _has_local_build(folder: Path, package: str) -> bool:
    return any(folder.glob(f"lib/python3*/site-packages/{package}-*+*.dist-info"))


def _only(wheels: Path | None) -> list[str]:
    return ["--no-index", "--find-links", str(wheels)] if wheels else []


def _is_overlay_had(
    root: Path, kind: Kind, python: Path, verb: str, options: list[str], offline: bool = False
) -> bool:
    """Install or download the overlay from the first place that has it; say whether one had."""
    base = [*_command(python, verb), "--quiet", *options, "--requirement", str(root / kind.overlay)]
    places = OVERLAY_PLACES[:1] if offline else OVERLAY_PLACES
    return any(
        subprocess.run([*base, *place], capture_output=True, close_fds=False).returncode == 0
        for place in places
    )


def _command(python: Path, verb: str = "install") -> list[str]:
    # --no-deps: the lock is complete, and its cuDNN is not the one torch asks for.
    # --only-binary: a source package would run code that no hash in the lock covers.
    return [
        *(str(python), "-I", "-m", "pip", verb, "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
    ]


def _followed(command: list[str], lock: Path, progress: Progress) -> tuple[int, list[str]]:
    """Run pip on a lock, showing how far it is; return its exit status and output."""
    total, done, lines = len(requirements(lock.read_text())), 0, []
    command = [*command, "--progress-bar", "off", "--requirement", str(lock)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, close_fds=False
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            if match := re.match(r"(?:Collecting|Requirement already satisfied:) (\S+)", line):
                done += 1
                progress.step(done, total, match.group(1))
            elif line.startswith("Installing collected"):
                progress.step(done, total, "unpacking and compiling (about a minute)")
    return pip.returncode, lines


def _last_asked(lines: list[str]) -> str:
    """Return the requirement that pip was at, as NAME==VERSION, when it gave up."""
    found = [match for line in lines for match in re.findall(r"[\w.-]+==[\w.+!-]+", line)]
    return found[-1] if found else "what the lock names"


def _last_error(lines: list[str]) -> str:
    errors = [line.strip() for line in lines if line.startswith("ERROR:")]
    last = errors or [line.strip() for line in lines if line.strip()] or ["no output"]
    return last[-1].replace("ERROR: ", "")


def uninstall(python: Path, packages: Iterable[str]) -> None:
    """Remove packages, by normalised name, that are installed."""
    named = [normalised(name) for name in packages]
    if named:
        command = [str(python), "-I", "-m", "pip", "uninstall", "--yes", "--quiet", *named]
        subprocess.run(command, capture_output=True, close_fds=False)
