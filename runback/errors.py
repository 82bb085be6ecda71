"""Everything that a user can cause, as exceptions that word themselves.

RunbackError
├── EngineError          a container engine that was asked for is not to be had
├── GpuRequired          RUNBACK_GPU=required and there is no GPU to give
├── ImageError           the image could not be built
├── EnvironmentMissing   no Python that can carry the locked environment
├── EnvironmentDrift     the environment is not what its lock says
├── EnvironmentFailed    the locked environment could not be made
├── NotOurs              a .venv that somebody else made, and that we leave alone
├── LockMissing          no lock to compare an environment with
├── DiskFull             not enough room for what is about to be written
├── StoreError           the tracking store cannot be used as it is
│   ├── NoStore          there is none where it was looked for
│   ├── ServerError      a tracking server does not answer, or not so
│   └── OnServer         a command that changes a store, and this one is on a server
├── RecordError          a file of a run's record is not what it should be
│   ├── WrongDigest      it is there, and not what was recorded
│   └── CheckpointAway   a checkpoint's files, or their digests, are not here
├── CaptureError         a run could not be recorded from its start
├── NoSuchRun            nothing here is called that
├── AmbiguousRun         several runs are called that
├── NoSuchExperiment     no experiment is called that
├── FilterError          a condition that cannot be read
├── UnknownName          no run has a field, metric or param of that name
├── NoSuchMetric         none of these runs has a metric or param of that name
├── NoMetrics            no runs, or none that logged a metric
├── UnknownFormat        a picture in a format that is not written
├── PackageMissing       a Python package that is not installed here
├── NoGoal               nobody says which way a metric is better
├── NoBest               no run says which of its metrics counts
├── NoRecord             the run's folder is not here
├── NoCode               the run's record has no code
├── NoCheckpoint         the run has no such checkpoint
├── NoSuchFile           the run has no such file
├── AmbiguousFile        several of its files are called that
├── NoOpener             no program of the desktop to open a file with
├── FolderTaken          what is there would be overwritten
├── CannotReplace        a file stands where a folder comes, or the other way round
├── RunGoesOn            a run that goes on, or may, and is not to be removed
├── RegisteredModels     a run from which versions of a registered model were made
├── NotRemoved           files that the disk or its rights would not let go
├── PortTaken            somebody else listens there
├── WrongArguments       what init() or checkpoint() was given, all problems at once
├── CheckpointFailed     a disk, a database or MLflow refused a checkpoint
├── RunElsewhere         a run that another store records cannot be continued here
├── RunActive            another run is active in this thread
├── ParamsError          parameters out of range or unknown, all at once
├── NoKeepsake           no repository of Keepsake where it was looked for
├── RemoteRepository     a repository of Keepsake that is not on this machine
├── RepositoryError      a repository of Keepsake that cannot be read
├── DatasetError         a data set that cannot be had or read
└── DeterminismError     a switch that did not take

Standard library only, Python 3.9: the launcher runs before there is an environment.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    def __init__(self, root: Path, has_folders: bool) -> None:
        hint = "runback ls --store FOLDER   # the folder of mlflow.db and mlruns/"
        super().__init__(
            f"there is no mlflow.db in {root}",
            "runback index   # makes it from the runs in mlruns/" if has_folders else hint,
        )


class ServerError(StoreError):
    def __init__(self, address: str, reason: str, hint: str) -> None:
        super().__init__(f"{address} cannot be read: {reason}", hint)


class OnServer(StoreError):
    def __init__(self, address: str) -> None:
        super().__init__(
            f"this command works on a folder with mlflow.db and mlruns/, and {address} is none",
            "--store FOLDER names one; the runs of a server are changed in MLflow's UI",
        )


class RecordError(RunbackError):
    """A file of a record that cannot be used; `path` names it, `reason` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}", "runback verify RUN says what is whole")
        self.path = path
        self.reason = reason


class WrongDigest(RecordError):
    def __init__(self, path: Path, what: str, expected: str, found: str) -> None:
        super().__init__(path, f"is damaged: {what}\n  recorded {expected}\n  found    {found}")


class CheckpointAway(RecordError):
    pass


class CaptureError(RunbackError):
    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(
            f"run {run_id[:8]} cannot be recorded: {reason}",
            "RUNBACK_RECORD=0 trains without a record",
        )


class NoSuchRun(RunbackError):
    def __init__(self, text: str, root: Path, known: int) -> None:
        runs = "1 run" if known == 1 else f"{known} runs"
        super().__init__(
            f'no run has an id that begins with "{text}", or that name ({runs} in {root})',
            "runback index   # if its folder came by rsync just now",
        )


class AmbiguousRun(RunbackError):
    def __init__(self, text: str, candidates: Sequence[str]) -> None:
        shown = "\n  ".join(candidates[:10])
        super().__init__(
            f'{len(candidates)} runs have an id that begins with "{text}", or that name\n  {shown}',
            "more letters of the id tell them apart",
        )


class NoSuchExperiment(RunbackError):
    def __init__(self, name: str, root: Path, known: Sequence[str]) -> None:
        shown = ", ".join(f'"{other}"' for other in known[:10])
        super().__init__(
            f'there is no experiment "{name}" in {root}',
            f"its experiments: {shown}" if shown else "",
        )


class FilterError(RunbackError):
    exit_status = 2

    def __init__(self, text: str, rule: str) -> None:
        super().__init__(f'"{text}" cannot be read: {rule}', 'runback ls --filter "val_loss < 0.3"')


class UnknownName(RunbackError):
    exit_status = 2

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f'no run has a field, metric or param called "{name}"', f"known: {', '.join(known)}"
        )


class NoSuchMetric(RunbackError):
    exit_status = 2

    def __init__(self, name: str, runs: Sequence[str], known: Sequence[str], kind: str) -> None:
        none = f"run {runs[0]} has no" if len(runs) == 1 else f"none of {len(runs)} runs has a"
        super().__init__(
            f'{none} {kind} called "{name}"',
            f"{kind}s: {', '.join(known[:20]) or 'none'}",
        )


class NoMetrics(RunbackError):
    def __init__(self, runs: Sequence[str]) -> None:
        of = f"run {runs[0]} has" if len(runs) == 1 else f"the {len(runs)} runs have"
        what = f"{of} no metrics yet" if runs else "there are no such runs: nothing to draw"
        super().__init__(what, "runback ls shows what each run has")


class UnknownFormat(RunbackError):
    exit_status = 2

    def __init__(self, path: Path, known: Sequence[str]) -> None:
        super().__init__(
            f"{path} has no ending that says a format: one of {', '.join(known)}",
            f"runback plot RUN -o {path.stem or 'curves'}{known[0]}",
        )


class PackageMissing(RunbackError):
    def __init__(self, package: str, what: str) -> None:
        super().__init__(f"{what} needs {package}, not installed here", f"pip install {package}")


class NoGoal(RunbackError):
    exit_status = 2

    def __init__(self, metric: str) -> None:
        super().__init__(
            f'is more of "{metric}" better, or less? no run says so, nor does its name',
            f"runback best --metric {quote(metric)} --maximize   # or --minimize",
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


class RunGoesOn(RunbackError):
    def __init__(self, here: Sequence[str], perhaps: Sequence[str]) -> None:
        if here:
            super().__init__(
                f"{_short(here)}: recorded by a process of this machine at this moment",
                "runback ps   # what runs, and where",
            )
            return
        super().__init__(
            f"{_short(perhaps)}: RUNNING, and not on this machine; perhaps it goes on elsewhere",
            "runback index, after an rsync, brings its end; --force does not wait for it",
        )


class RegisteredModels(RunbackError):
    def __init__(self, versions: Sequence[str], runs: Sequence[str]) -> None:
        more = f" and {len(versions) - 5} more" if len(versions) > 5 else ""
        super().__init__(
            f"{_short(runs)}: registered as {', '.join(versions[:5])}{more}",
            "--force removes these versions too: models:/… loads them no more",
        )


class NotRemoved(RunbackError):
    def __init__(self, reasons: Mapping[str, str]) -> None:
        shown = "\n  ".join(f"{path} {reason}" for path, reason in list(reasons.items())[:10])
        super().__init__(
            f"removed from the lists, and not from the disk\n  {shown}",
            "runback index   # removes them, when they can be",
        )


def _short(run_ids: Sequence[str]) -> str:
    return ", ".join(run_id[:8] for run_id in run_ids)


class NoCode(RunbackError):
    def __init__(self, run_id: str, missing: Sequence[str]) -> None:
        why = "; ".join(missing[:3]) or "its manifest names none"
        super().__init__(
            f"run {run_id[:8]} has no code in its record: {why}",
            f"runback checkout {run_id[:8]} --only checkpoint",
        )


class NoCheckpoint(RunbackError):
    def __init__(self, run_id: str, which: str, known: Sequence[str]) -> None:
        shown = "\n  ".join(known[:10])
        super().__init__(
            f"run {run_id[:8]} has no checkpoint {which}"
            + (f"; it has\n  {shown}" if known else ": none was kept"),
            f"runback checkout {run_id[:8]} --only code" if not known else "",
        )


class NoSuchFile(RunbackError):
    def __init__(self, run_id: str, name: str, near: Sequence[str], hint: str) -> None:
        shown = f"; near it: {', '.join(near)}" if near else ""
        super().__init__(f'run {run_id[:8]} has no file or folder "{name}"{shown}', hint)


class AmbiguousFile(RunbackError):
    def __init__(self, run_id: str, name: str, candidates: Sequence[str]) -> None:
        shown = "\n  ".join(candidates[:10])
        super().__init__(
            f'run {run_id[:8]} has {len(candidates)} files that end in "{name}"\n  {shown}',
            "more of its path tells them apart",
        )


class NoOpener(RunbackError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no program was found to open {path}",
            "BROWSER=PROGRAM runback open … --external names one",
        )


class FolderTaken(RunbackError):
    def __init__(self, target: Path, is_folder: bool) -> None:
        what = "is not empty" if is_folder else "is no folder"
        hint = "--to FOLDER checks out elsewhere"
        super().__init__(
            f"{target} is there and {what}: nothing was written",
            f"{hint}; --overwrite replaces its files" if is_folder else hint,
        )


class CannotReplace(RunbackError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} {reason}: nothing was written", "--to FOLDER checks out elsewhere"
        )


class PortTaken(RunbackError):
    def __init__(self, port: int, free: int) -> None:
        super().__init__(
            f"port {port} of 127.0.0.1 is taken by another program",
            f"./run_mlflow_ui.bash --port {free}",
        )


class WrongArguments(RunbackError, ValueError):
    exit_status = 2

    def __init__(self, call: str, problems: Sequence[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {call}()\n  " + "\n  ".join(problems))
        self.problems = list(problems)


class CheckpointFailed(RunbackError):
    def __init__(self, what: str, reason: str, where: Path) -> None:
        super().__init__(f"{what}: {reason}", f"df -h {where}   # the run itself goes on")


class RunElsewhere(RunbackError):
    def __init__(self, run_id: str, owner: str, here: str) -> None:
        super().__init__(
            f"run {run_id[:8]} is recorded by the store {owner}, and this is {here}: "
            "what is logged here would not get into its record",
            f"runback checkout {run_id[:8]}   # its code and checkpoint, for a new run",
        )


class RunActive(RunbackError):
    def __init__(self, active: str, wanted: str) -> None:
        super().__init__(
            f"run {active[:8]} is active in this thread, and {wanted[:8]} cannot be beside it",
            "mlflow.end_run() ends it",
        )


class ParamsError(RunbackError):
    exit_status = 2

    def __init__(self, problems: Sequence[str], script: str) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            f"{count} in the parameters\n  " + "\n  ".join(problems), f"python {script} --help"
        )
        self.problems = list(problems)


class NoKeepsake(RunbackError):
    def __init__(self, where: Path, looked_for: str) -> None:
        super().__init__(
            f"{where} has no repository of Keepsake: {looked_for}",
            "runback import keepsake FOLDER   # that of repository.json or of keepsake.yaml",
        )


class RemoteRepository(RunbackError):
    def __init__(self, address: str) -> None:
        copy = "aws s3 sync" if address.startswith("s3") else "gcloud storage rsync -r"
        super().__init__(
            f"{address} is not on this machine; a repository is read from a folder",
            f"mkdir keepsake-copy && {copy} '{address}' keepsake-copy "
            "&& runback import keepsake keepsake-copy",
        )


class RepositoryError(RunbackError):
    def __init__(self, where: Path | str, reason: str) -> None:
        super().__init__(f"{where} {reason}", "runback import keepsake FOLDER")


class DatasetError(RunbackError):
    pass


class DeterminismError(RunbackError):
    def __init__(self, switches: Sequence[str]) -> None:
        super().__init__(
            "asked for and not so when read back: " + ", ".join(switches),
            "determinism.prepare() comes before the first import of keras, tensorflow or torch",
        )
