"""What can go wrong with a search, as exceptions that word themselves."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class StudyGoesOn(RunbackError):
    def __init__(self, name: str, lock: Path) -> None:
        super().__init__(
            f'study "{name}" goes on in another process',
            f"fuser -v {quote(str(lock))}   # names it; --workers N trains several at a time",
        )


class StudyDiffers(RunbackError):
    def __init__(self, name: str, differences: Sequence[str]) -> None:
        shown = "\n  ".join(differences)
        super().__init__(
            f'study "{name}" was begun otherwise: its trials could not be compared\n  {shown}',
            f"--study {name}-2   # begins another",
        )


class SearchRunGone(RunbackError):
    def __init__(self, name: str, run_id: str, reason: str) -> None:
        super().__init__(
            f'study "{name}" cannot go on in its run {run_id[:8]}: {reason}',
            f"runback restore {run_id[:8]}   # or: --study {name}-2 begins another",
        )


class SearchNotLogged(RunbackError):
    def __init__(self, run_id: str, reason: str, folder: Path) -> None:
        super().__init__(
            f"the run of the search, {run_id[:8]}, cannot be written: {reason}",
            f"df -h {quote(str(folder))}   # then: the same command goes on",
        )


class StudyUnreadable(RunbackError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the study in {path} cannot be used: {reason}",
            f"mv {quote(str(path))} {quote(str(path))}.bad   # its runs stay; a new study begins",
        )


class MetricMissing(RunbackError):
    def __init__(self, metric: str, known: Iterable[str], log: Path) -> None:
        names = ", ".join(sorted(known))
        hint = f"--metric {next(iter(sorted(known)))}" if known else ""
        super().__init__(
            f'the training reports no metric "{metric}", but {names or "none at all"}',
            hint or f"runback.keras.SweepCallback reports them; its output: less {quote(str(log))}",
        )


class TrialsFail(RunbackError):
    def __init__(self, count: int, why: str, log: Path) -> None:
        super().__init__(
            f"{count} trials in a row have failed, the last one so:\n  {why}",
            f"less {quote(str(log))}   # all that it printed; the same command goes on",
        )
