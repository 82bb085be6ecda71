"""Everything that a user can cause, as exceptions that word themselves.

RunbackError
├── EngineError          a container engine that was asked for is not to be had
├── GpuRequired          RUNBACK_GPU=required and there is no GPU to give
├── ImageError           the image could not be built
├── EnvironmentMissing   no Python that can carry the locked environment
├── EnvironmentDrift     the environment is not what its lock says
├── EnvironmentFailed    the locked environment could not be made
├── DownloadFailed       a package of the lock is not to be had
├── NotOurs              a .venv that somebody else made, and that we leave alone
├── LockMissing          no lock to compare an environment with
├── DiskFull             not enough room for what is about to be written
├── StoreError           the tracking store cannot be used as it is
│   ├── NoStore          there is none where it was looked for
├── RecordError          a file of a run's record is not what it should be
├── CaptureError         a run could not be recorded from its start
├── NoSuchRun            nothing here is called that
├── AmbiguousRun         several runs are called that
├── PackageMissing       a Python package that is not installed here
├── NoRuns               @latest, and there is none
├── NoBest               no run says which of its metrics counts
├── NoRecord             the run's folder is not here
├── PortTaken            somebody else listens there
├── ParamsError          parameters out of range or unknown, all at once
├── DatasetError         a data set that cannot be had or read
└── DeterminismError     a switch that did not take

The others stand with those who raise them: runs/errors.py, store/, remote/, checkpoints/,
keepsake/. Standard library only, Python 3.9: the launcher runs before there is an environment.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class RunbackError(Exception):
    """What a user can mend: `str()` says what is wrong, `hint` how (a line to paste, or "")."""

    exit_status = 3
    hint = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.hint


class EngineError(RunbackError):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"{name} was asked for and cannot be used: {reason}",
            "RUNBACK_ENGINE=venv ./run_script.bash … runs without a container engine",
        )


class GpuRequired(RunbackError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"RUNBACK_GPU=required, and there is none: {reason}",
            "RUNBACK_GPU=auto ./run_script.bash … runs without one",
        )


class ImageError(RunbackError):
    def __init__(self, tag: str, command: str, status: int, reason: str, hint: str) -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(f"{command} for {tag} ended with status {status}{why}", hint)


class EnvironmentMissing(RunbackError):
    def __init__(self, looked_at: Sequence[str]) -> None:
        tried = "; ".join(looked_at) or "no python3 on PATH"
        super().__init__(
            f"the environment needs Python 3.11 or 3.12 with its venv module, found: {tried}",
            "install one (Debian, Ubuntu: python3.12-venv or python3.11-venv), "
            "or name one: RUNBACK_PYTHON=/path/to/python3.12",
        )


class EnvironmentDrift(RunbackError):
    def __init__(self, where: Path, drifts: Sequence[str]) -> None:
        shown = "\n  ".join(drifts[:5])
        more = f"\n  and {len(drifts) - 5} more" if len(drifts) > 5 else ""
        super().__init__(
            f"{where} and its lock disagree\n  {shown}{more}",
            "./run_script.bash --repair installs what the lock says again",
        )


class EnvironmentFailed(RunbackError):
    def __init__(self, where: Path, step: str, log: Path, last: str) -> None:
        super().__init__(
            f"{where} could not be made: {step} failed: {last}",
            f"less {log}   # all of its output; pip keeps what it has downloaded",
        )


class DownloadFailed(RunbackError):
    def __init__(self, package: str, last: str) -> None:
        super().__init__(
            f"{package} cannot be downloaded: {last}",
            "PIP_FIND_LINKS=FOLDER …   # takes wheels from a folder that has them",
        )


class NotOurs(RunbackError):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} was not made by run_script.bash, which needs a folder of this name",
            f"mv {folder.name} {folder.name}.mine",
        )


class LockMissing(RunbackError):
    def __init__(self, lock: Path, reason: str) -> None:
        super().__init__(
            f"there is no lock to compare with at {lock}: {reason}",
            "./run_script.bash python -m runback verify requirements.txt",
        )


class DiskFull(RunbackError):
    def __init__(self, where: Path, free_bytes: int, needed_bytes: int, what: str) -> None:
        super().__init__(
            f"{what} needs about {needed_bytes / 1e9:.0f} GB, "
            f"and {where} has {free_bytes / 1e9:.1f} GB free",
            f"df -h {where}",
        )


class StoreError(RunbackError):
    pass


class NoStore(StoreError):
    def __init__(self, root: Path, has_folders: bool, above: Path | None = None) -> None:
        """above: the nearest folder around `root` that has one."""
        hint = "runback ls --store FOLDER   # the folder of mlflow.db and mlruns/"
        if above:
            hint = f"runback ls --store {quote(str(above))}   # there is one"
        super().__init__(
            f"there is no mlflow.db in {root}",
            "runback index   # makes it from the runs in mlruns/" if has_folders else hint,
        )


class RecordError(RunbackError):
    """A file of a record that cannot be used; `path` names it, `reason` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}", "runback verify RUN says what is whole")
        self.path = path
        self.reason = reason


class CaptureError(RunbackError):
    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(
            f"run {run_id[:8]} cannot be recorded: {reason}",
            "RUNBACK_RECORD=0 trains without a record",
        )


class NoSuchRun(RunbackError):
    def __init__(self, text: str, root: Path, known: int, close: Sequence[str] = ()) -> None:
        """known: how many runs there are. close: names that are nearly the same."""
        runs = "1 run" if known == 1 else f"{known} runs"
        index = "runback index   # if its folder came by rsync just now"
        super().__init__(
            f'no run has an id that begins with "{text}", or that name ({runs} in {root})',
            f"did you mean {' or '.join(close)}?" if close else index,
        )


class AmbiguousRun(RunbackError):
    def __init__(self, text: str, candidates: Sequence[str]) -> None:
        shown = "\n  ".join(candidates[:10])
        super().__init__(
            f'{len(candidates)} runs have an id that begins with "{text}", or that name\n  {shown}',
            "more letters of the id tell them apart",
        )


class PackageMissing(RunbackError):
    def __init__(self, package: str, what: str) -> None:
        super().__init__(f"{what} needs {package}, not installed here", f"pip install {package}")


class NoRuns(RunbackError):
    def __init__(self, root: Path) -> None:
        super().__init__(
            f"@latest: there is no run in {root} that is not deleted",
            "runback ls --deleted   # or runback index, if folders came by rsync just now",
        )


class NoBest(RunbackError):
    def __init__(self, root: Path) -> None:
        super().__init__(
            f"@best: no run in {root} has a primary metric",
            "runback best --metric NAME finds the best run by any metric",
        )


class NoRecord(RunbackError):
    def __init__(self, run_id: str, mlruns: Path) -> None:
        super().__init__(
            f"run {run_id[:8]} has no folder in {mlruns}",
            "runback index   # begins a record of a run of this machine; "
            "else copy its folder from the machine that has it",
        )


class PortTaken(RunbackError):
    def __init__(self, port: int, free: int) -> None:
        super().__init__(
            f"port {port} of 127.0.0.1 is taken by another program",
            f"./run_mlflow_ui.bash --port {free}",
        )


class ParamsError(RunbackError):
    exit_status = 2

    def __init__(self, problems: Sequence[str], script: str) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"{count} in the parameters\n  " + "\n  ".join(problems), f"python {script} --help"
        )
        self.problems = list(problems)


class DatasetError(RunbackError):
    pass


class DeterminismError(RunbackError):
    def __init__(self, switches: Sequence[str]) -> None:
        super().__init__(
            "asked for and not so when read back: " + ", ".join(switches),
            "determinism.prepare() comes before the first import of keras, tensorflow or torch",
        )
