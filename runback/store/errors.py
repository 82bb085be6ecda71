"""What can go wrong where runs are removed.

RunGoesOn          a run that goes on, or may, and is not to be removed
RegisteredModels   a run from which versions of a registered model were made
NotRemoved         files that the disk or its rights would not let go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
