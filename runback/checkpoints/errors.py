"""What can go wrong where checkpoints are kept.

WrongArguments     what init() or checkpoint() was given, all problems at once
CheckpointFailed   a disk, a database or MLflow refused a checkpoint
RunElsewhere       a run that another store records cannot be continued here
NoSuchCheckpoint   no files were kept at the step from which a replay is to start
RunActive          another run is active in this thread
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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


class NoSuchCheckpoint(RunbackError):
    def __init__(self, run_id: str, step: int, known: Sequence[int]) -> None:
        """known: the steps that have one, in order."""
        steps = ", ".join(map(str, known[-20:]))
        more = f"{len(known) - 20} more, " if len(known) > 20 else ""
        super().__init__(
            f"run {run_id[:8]} has no checkpoint with files of step {step}"
            + (f"; it has those of {more}{steps}" if known else ", nor of any other"),
            f"runback replay {run_id[:8]}"
            + (f" --from-step {known[-1]}" if known else "   # from its beginning"),
        )
