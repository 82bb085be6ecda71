"""Run the trials of a study, several at a time, each in a process of its own."""

from __future__ import annotations

import queue
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.sweep.errors import MetricMissing, TrialsFail
from runback.sweep.process import Process
from runback.sweep.trial import COMPLETE, FAILED, PRUNED, Result, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runback.sweep.study import Study

# A process that is killed (out of memory, most of the time) is started again so often.
KILLS_MAX = 2
# It is the training that is broken, not these values.
FAILED_IN_A_ROW_MAX = 3


@dataclass
class _Heard:
    """What a trial has said so far. known: the metrics that it reports."""

    value: float | None = None
    is_pruned: bool = False
    known: set[str] = field(default_factory=set)


class Workers:
    """Run trials with `count` threads, each of which waits for a process; a context manager.

    begin: starts a trial's process. tell: is told in sentences what is going on.
    """

    def __init__(
        self,
        study: Study,
        count: int,
        begin: Callable[[Trial], Process],
        tell: Callable[[str], None],
    ) -> None:
        self._study = study
        self._metric = study.design.metric
        self._count = count
        self._begin = begin
        self._tell = tell
        self._running: set[Process] = set()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._at_work = 0
        self._done: queue.SimpleQueue[tuple[Result, Process] | BaseException | None]
        self._done = queue.SimpleQueue()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes that still run, after Ctrl-C for one, and put their trials back.

        They have time to write their records; after another Ctrl-C they have not.
        """
        try:
            self._end(Process.stop)
        except KeyboardInterrupt:
            self._end(Process.kill)
            raise

    def _end(self, how: Callable[[Process], None]) -> None:
        with self._lock:
            self._is_stopping = True
            for process in self._running:
                how(process)
        while self._at_work:  # Thread.join would not wait a second time (Python 3.11, 3.12)
            self._next()

    def _next(self) -> tuple[Result, Process] | BaseException | None:
        found = self._done.get()
        self._at_work -= found is None
        return found

    def results(self, trials: int) -> Iterator[Result]:
        """Yield what comes of the trials, as they end, until there are so many in all.

        Raises TrialsFail, MetricMissing, StudyUnreadable, OSError.
        """
        for _ in range(self._count):
            threading.Thread(target=self._work, args=(trials,)).start()
            self._at_work += 1
        failed = 0
        while self._at_work:
            found = self._next()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                continue
            result, process = found
            yield result
            failed = failed + 1 if result.state == FAILED else 0
            if failed == FAILED_IN_A_ROW_MAX:
                raise TrialsFail(failed, result.why, process.log)

    def _work(self, trials: int) -> None:
        try:
            while not self._is_stopping and (trial := self._study.claim(trials)):
                if found := self._run(trial):
                    self._done.put(found)
        except BaseException as error:  # the thread that waits for us raises it
            self._done.put(error)
        finally:
            self._done.put(None)

    def _run(self, trial: Trial) -> tuple[Result, Process] | None:
        with self._lock:
            process = None if self._is_stopping else self._begin(trial)
            self._running |= {process} if process else set()
        if process is None:
            self._study.give_back(trial, trial.kills)
            return None
        try:
            with process:
                heard = self._listen(trial, process)
                result = self._judge(trial, process, heard)
        finally:
            with self._lock:
                self._running.discard(process)
        return (result, process) if result else None

    def _listen(self, trial: Trial, process: Process) -> _Heard:
        process.say(name=trial.name, metric=self._metric)
        heard = _Heard()
        for message in process.messages():
            if "run" in message:
                self._study.note_run(trial, str(message["run"]))
            else:
                self._hear(trial, process, heard, message)
        return heard

    def _hear(self, trial: Trial, process: Process, heard: _Heard, message: dict[str, Any]) -> None:
        heard.known.update(message["metrics"])
        if message["value"] is not None:
            heard.value = message["value"]
            heard.is_pruned = self._study.report(trial, message["epoch"], message["value"])
            process.say(prune=heard.is_pruned)

    def _judge(self, trial: Trial, process: Process, heard: _Heard) -> Result | None:
        """Note what came of a trial, None if it is to be run again. Raises MetricMissing."""
        status = process.wait()
        if status and self._is_stopping:
            self._study.give_back(trial, trial.kills)
            return None
        killed = _signal_of(status)
        if killed and trial.kills < KILLS_MAX:
            self._tell(f"trial {trial.place} was killed by signal {killed}: it is run again")
            self._study.give_back(trial, trial.kills + 1)
            return None
        if status:
            why = f"killed by signal {killed}" if killed else process.last_line()
            return self._study.end(trial, FAILED, why=why or f"it ended with status {status}")
        if heard.value is None:
            self._study.give_back(trial, trial.kills)
            raise MetricMissing(self._metric, heard.known, process.log)
        if heard.is_pruned:
            return self._study.end(trial, PRUNED)
        return self._study.end(trial, COMPLETE, heard.value)


def _signal_of(status: int) -> int:
    """Return the signal that ended a process, 0 if none did; some exit as a shell says it."""
    if status < 0:
        return -status
    return status - 128 if status in (128 + signal.SIGINT, 128 + signal.SIGTERM) else 0
