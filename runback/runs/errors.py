"""What can go wrong where runs are read, compared, drawn and checked out.

NoSuchExperiment   no experiment is called that
FilterError        a condition that cannot be read
UnknownName        no run has a field, metric or param of that name
NoSuchMetric       none of these runs has a metric or param of that name
NoMetrics          no runs, or none that logged a metric
UnknownFormat      a picture in a format that is not written
NoGoal             nobody says which way a metric is better
NoCode             the run's record has no code
NoCheckpoint       the run has no such checkpoint
NoSuchFile         the run has no such file
AmbiguousFile      several of its files are called that
NoOpener           no program of the desktop to open a file with
FolderTaken        what is there would be overwritten
CannotReplace      a file stands where a folder comes, or the other way round
WrongDigest        it is there, and not what was recorded
CheckpointAway     a checkpoint's files, or their digests, are not here
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import RecordError, RunbackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class NoSuchExperiment(RunbackError):
    def __init__(self, name: str, root: Path, known: Sequence[str]) -> None:
        shown = ", ".join(f'"{other}"' for other in known[:10])
        super().__init__(
            f'there is no experiment "{name}" in {root}',
            f"its experiments: {shown}" if shown else "",
        )


class FilterError(RunbackError):
    exit_status = 2

    def __init__(self, text: str, rule: str, example: str = "val_loss < 0.3") -> None:
        super().__init__(f'"{text}" cannot be read: {rule}', f'runback ls --filter "{example}"')


class UnknownName(RunbackError):
    exit_status = 2

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f'no run has a field, metric or param called "{name}"',
            f"known: {', '.join(known)}" if known else "",
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


class NoGoal(RunbackError):
    exit_status = 2

    def __init__(self, metric: str) -> None:
        super().__init__(
            f'is more of "{metric}" better, or less? no run says so, nor does its name',
            f"runback best --metric {quote(metric)} --maximize   # or --minimize",
        )


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


class WrongDigest(RecordError):
    def __init__(self, path: Path, what: str, expected: str, found: str) -> None:
        super().__init__(path, f"is damaged: {what}\n  recorded {expected}\n  found    {found}")


class CheckpointAway(RecordError):
    pass
