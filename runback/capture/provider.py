"""The entry point by which MLflow asks us, just before it makes a run, for its tags.

It gives every run of this process the same tag. By that, the recorder finds them in the
store: those of autolog, nested ones and those of other libraries too. MLflow asks
also when no run follows; then nothing happens.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runback.capture.recorder import Recorder


class RunContext:
    """An MLflow run-context provider (mlflow.tracking.context.abstract_context).

    MLflow makes one when it is imported, before its own exit handler is registered:
    ours therefore runs after it, when the run has got its final status.
    """

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        atexit.register(self._close)
        self._unblocked = threading.local()
        os.register_at_fork(
            before=self._block, after_in_parent=self._unblock, after_in_child=self._in_child
        )

    def in_context(self) -> bool:
        """Say whether runs are to be recorded: unless RUNBACK_RECORD=0."""
        return os.environ.get("RUNBACK_RECORD", "1") != "0"

    def tags(self) -> Mapping[str, str]:
        """Return the tags of this process's runs, and look for a new one soon."""
        from runback.capture.recorder import Recorder
        from runback.store.tags import SESSION_TAG

        of_experiment = _of_experiment(is_first=self._recorder is None)
        if self._recorder is None:
            self._recorder = Recorder()
        return {SESSION_TAG: self._recorder.expect(), **of_experiment, **_of_replay()}

    def _close(self) -> None:
        if self._recorder:
            with contextlib.suppress(KeyboardInterrupt):  # an index completes the record
                self._recorder.close()

    def _in_child(self) -> None:
        """Leave the parent's runs to the parent: a forked worker records only its own."""
        if self._recorder:
            self._recorder.forget()
        self._recorder = None
        self._unblock()

    def _block(self) -> None:
        """Let no signal come to a child that still has our handlers: Python would drop it."""
        if self._recorder:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._recorder.signals)
            self._unblocked.mask = mask

    def _unblock(self) -> None:
        mask = self._unblocked.__dict__.pop("mask", None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _of_replay() -> dict[str, str]:
    """Return the tags of a run that is a replay: of which run, and which attempt at it."""
    from runback.store.tags import ATTEMPT_TAG, REPLAY_OF_TAG

    original = os.environ.get("RUNBACK_REPLAY")
    if not original:
        return {}
    return {REPLAY_OF_TAG: original, ATTEMPT_TAG: os.environ.get("RUNBACK_REPLAY_ATTEMPT", "")}


def _of_experiment(is_first: bool) -> dict[str, str]:
    """Return the tags of a run that is a stage or an experiment of DVC, which sets variables.

    The process's first run has the experiment's name, unless it is given one.
    """
    from runback.store.tags import DVC_BASELINE_TAG, DVC_NAME_TAG, DVC_STAGE_TAG

    if os.environ.get("RUNBACK_REPLAY"):
        return {}
    given = {
        DVC_NAME_TAG: os.environ.get("DVC_EXP_NAME"),
        DVC_BASELINE_TAG: os.environ.get("DVC_EXP_BASELINE_REV"),
        DVC_STAGE_TAG: os.environ.get("DVC_STAGE"),
        "mlflow.runName": os.environ.get("DVC_EXP_NAME") if is_first else None,
    }
    return {key: value for key, value in given.items() if value}
