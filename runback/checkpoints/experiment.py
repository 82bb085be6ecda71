"""An experiment: a run that keeps checkpoints while it goes on."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from runback.checkpoints import content, saved
from runback.checkpoints.background import Background
from runback.checkpoints.errors import CheckpointFailed, WrongArguments
from runback.checkpoints.keeping import Keeping
from runback.checkpoints.replayed import asked_step
from runback.checkpoints.saved import Checkpoint
from runback.checkpoints.values import check_among, metrics_of, primary_of, step_of
from runback.record.primary import best_from_tag, from_tag
from runback.store import running
from runback.store.tags import BEST_TAG, FROM_TAG, PRIMARY_TAG
from runback.terminal import report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from runback.checkpoints.content import Source
    from runback.checkpoints.publish import Publisher
    from runback.checkpoints.replayed import Past
    from runback.record.primary import PrimaryMetric

    AnyPath = str | os.PathLike[str]


class Experiment:
    """A run of MLflow's that this process logs to; made by `runback.init` and `runback.resume`.

    As a context manager it ends the run: FINISHED, FAILED after an exception, KILLED
    after Ctrl-C. Threads may share it. id: the run's, 32 hex characters.
    """

    def __init__(
        self, publisher: Publisher, is_ours: bool, is_new: bool, past: Past | None = None
    ) -> None:
        """is_ours: `stop` ends the run. is_new: it has nothing yet. past: that it goes on from."""
        self.id = publisher.run_id
        self._publisher = publisher
        self._is_ours = is_ours
        self._is_stopped = False
        self._lock = threading.RLock()
        self._background = Background()
        self._primary: PrimaryMetric | None = None
        self._next_step = 0
        self._past = past
        if not is_new:
            self._look_up()
        if past:
            self._go_on_from(past)
        self._is_alone = not running.is_held(publisher.root, self.id)
        self._hold = running.hold(publisher.root, self.id) if publisher.is_local else None
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=self._in_child)

    def checkpoint(
        self,
        path: AnyPath | None = None,
        step: int | None = None,
        metrics: Mapping[str, Any] | None = None,
        primary_metric: tuple[str, str] | None = None,
        background: bool = False,
    ) -> Checkpoint:
        """Log the metrics at the step, and keep a copy of the file or folder `path`.

        step: the one after the last if None; the first is 0. metrics: numbers, or
        tensors and arrays of one element. primary_metric: name and goal ("minimize"
        or "maximize"), by which the run's best checkpoint is told; once is enough.
        All is durable when this returns. background: the copy is taken, and made
        durable and visible soon after; what goes wrong is raised by the next call, which
        then does nothing else.
        Raises WrongArguments before anything is done, CheckpointFailed (a full disk):
        then nothing of this checkpoint is left, and the run goes on.
        """
        with self._publisher.failing("the checkpoint is not kept"), self._lock:
            self._background.check()
            source, numbers, number = self._checked(path, step, metrics, primary_metric)
            at = self._next_step if number is None else number
            self._next_step = at + 1
        with self._publisher.failing(f"the checkpoint of step {at} is not kept"):
            if source is None:
                self._publisher.log(at, numbers, self._primary)
                return Checkpoint(at, numbers)
            keeping = self._begun(source, at, numbers)
        self._background.submit(keeping.publish) if background else keeping.publish()
        kept = keeping.folder / source.name if keeping.folder else None
        return Checkpoint(at, numbers, kept, keeping.model_id)

    @property
    def latest(self) -> Checkpoint | None:
        """Return the checkpoint with files of the greatest step, None if there is none."""
        with self._publisher.failing("the latest checkpoint cannot be read"):
            own = saved.latest(self._publisher)
            return self._past.latest() if self._past and not own else own

    @property
    def best(self) -> Checkpoint | None:
        """Return the checkpoint with the best value of the primary metric, None if there is none.

        Without a path, if no file was kept at that step.
        """
        with self._publisher.failing("the best checkpoint cannot be read"):
            own = saved.best(self._publisher)
            is_own = own is not None and (own.path is not None or not self._is_past(own))
            return self._past.best() if self._past and not is_own else own

    @property
    def start_from(self) -> Checkpoint | None:
        """Return where a replay is to start: the original's checkpoint of the step asked for.

        None in a training, in a replay from the beginning, and once the run has its own.
        """
        if self._past is None or asked_step() is None:
            return None
        with self._publisher.failing("the latest checkpoint cannot be read"):
            return None if saved.latest(self._publisher) else self._past.latest()

    def stop(self) -> None:
        """Wait for what goes on in the background, and end the run as FINISHED.

        A run that was active before init() goes on, and one that another process continues.
        Raises what failed in the background.
        """
        self._stop("FINISHED", is_failing=False)

    def __enter__(self) -> Experiment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_fine = error is None or (isinstance(error, SystemExit) and error.code in (None, 0))
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        self._stop("FINISHED" if is_fine else status, is_failing=error is not None)

    def _stop(self, status: str, is_failing: bool) -> None:
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
        failures = self._background.wait()
        with self._publisher.failing("the end of the run is not noted"):
            self._end(status)
        for failure in failures if is_failing else failures[1:]:
            report(failure)  # what is raised already goes before
        if failures and not is_failing:
            raise failures[0]

    def _end(self, status: str) -> None:
        """End the run in this process; the last of several processes gives it its status."""
        goes_on = self._is_ours and running.is_held_elsewhere(self._publisher.root, self.id)
        if self._is_ours:
            self._publisher.end("RUNNING" if goes_on else status)
        self.release()
        if goes_on and not running.is_held_elsewhere(self._publisher.root, self.id):
            self._publisher.end(status)  # the other one has come to its end meanwhile

    def start(self) -> None:
        """Make the run active in this thread, unless it is."""
        if self._is_ours:
            self._publisher.start(is_recorded=self._is_alone)

    def release(self) -> None:
        """Say no more that this process logs to the run."""
        atexit.unregister(self._at_exit)
        if self._hold:
            self._hold.release()
            self._hold = None

    def _at_exit(self) -> None:
        """Wait; MLflow's own handler, which comes later, ends a run of which nothing failed."""
        self._is_stopped = True
        for failure in self._background.wait():
            report(failure)
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        if error or running.is_held_elsewhere(self._publisher.root, self.id):
            how = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with contextlib.suppress(CheckpointFailed), self._publisher.failing(how):
                self._end(how if error else "FINISHED")
        self.release()

    def _in_child(self) -> None:
        """Leave the run to the parent process; a forked child may log to it, and no more."""
        self._lock = threading.RLock()
        self._background = Background()
        self._is_ours = False
        atexit.unregister(self._at_exit)
        if self._hold:
            self._hold.forget()
            self._hold = None

    def _look_up(self) -> None:
        tags = self._publisher.run().data.tags
        self._primary = from_tag(tags.get(PRIMARY_TAG, ""))
        best = best_from_tag(tags.get(BEST_TAG, "")) or {}
        self._publisher.know_best(best.get("value"))
        self._next_step = 1 + self._publisher.last_step()

    def _go_on_from(self, past: Past) -> None:
        """Stand where the run of the past stood."""
        self._next_step = max(self._next_step, past.first_step)
        if past.primary and self._primary is None:
            self._publisher.name_primary(past.primary)
            self._primary = past.primary
        if BEST_TAG not in self._publisher.run().data.tags and (best := past.best_value()):
            self._publisher.name_best(best)
        self._publisher.say(FROM_TAG, str(past.first_step - 1))

    def _is_past(self, found: Checkpoint) -> bool:
        return self._past is not None and found.step < self._past.first_step

    def _checked(
        self, path: Any, step: Any, metrics: Any, primary_metric: Any
    ) -> tuple[Source | None, dict[str, float], int | None]:
        problems: list[str] = []
        if self._is_stopped:
            problems.append("the experiment has been stopped; runback.resume continues its run")
        if path is None and not metrics:
            problems.append("path and metrics are both missing: there is nothing to keep")
        root = self._publisher.root
        source = None if path is None else content.source_of(path, root, problems)
        numbers, number = metrics_of(metrics, problems), step_of(step, problems)
        primary = primary_of(primary_metric, problems)
        check_among(primary, metrics, problems)
        is_new = primary is not None and self._primary is None and not problems
        if is_new:
            tags = self._publisher.run().data.tags
            self._primary = from_tag(tags.get(PRIMARY_TAG, ""))
        if primary and self._primary not in (None, primary):
            problems.append(f"primary_metric is {primary}, and {self._primary} in this run already")
        if problems:
            raise WrongArguments("checkpoint", problems)
        if primary and self._primary is None:
            self._publisher.name_primary(primary)
            self._primary = primary
        return source, numbers, number

    def _begun(self, source: Source, step: int, metrics: dict[str, float]) -> Keeping:
        model_id, folder = self._publisher.new_model(source.name, step)
        try:
            draft = content.draft_of(self._publisher.root, self.id, source)
        except BaseException:
            self._publisher.give_up(model_id, folder)
            raise
        primary = self._primary
        return Keeping(self._publisher, draft, step, metrics, primary, model_id, folder)
