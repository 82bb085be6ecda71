"""Start a tracked run: the project's store, an honest final status, system metrics.

The capture side, where mlflow is imported (inside functions; it takes seconds).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from runback.launch import inside
from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from mlflow import ActiveRun

# MLflow's default is 10 s: a run of a minute would have no curve.
SYSTEM_METRICS_EVERY_S = 2


# What `connect` has set, which a later one, for another project, may set anew.
_CONNECTED: dict[str, str] = {}


def connect(project: Path) -> None:
    """Point MLflow at the project's store, made if missing, unless it was pointed elsewhere.

    run_script.bash has done so already; this serves a script that is started without it.
    Raises StoreError.
    """
    given = {name: os.environ[name] for name in os.environ if not _is_ours(name)}
    wanted = inside.variables(project, given)
    inside.prepare_store(project, wanted, say)
    ours = {name: wanted[name] for name in wanted.keys() - given.keys() if "MLFLOW" in name}
    os.environ.update(ours)
    _CONNECTED.update(ours)


def _is_ours(name: str) -> bool:
    return name in _CONNECTED and os.environ[name] == _CONNECTED[name]


@contextmanager
def tracked_run(project: Path, experiment: str) -> Iterator[ActiveRun]:
    """Start a MLflow run, and end it as FINISHED, FAILED, or KILLED by Ctrl-C or SIGTERM.

    experiment: MLFLOW_EXPERIMENT_NAME goes before it. What was logged stays in each case.
    """
    connect(project)
    import mlflow

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_EVERY_S)
    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment)
    with _handled() as signals:
        status = "FAILED"
        try:
            with signals.held():
                run = mlflow.start_run(log_system_metrics=True)
            yield run
            status = "FINISHED"
        except SystemExit:
            # Lightning turns Ctrl-C into exit(1).
            if signals.received:
                raise SystemExit(128 + signals.received[0]) from None
            raise
        finally:
            with signals.held():
                mlflow.end_run("KILLED" if signals.received else status)


class _Signals:
    """The SIGINT and SIGTERM that arrived, each raised as the exception it means."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._waiting: list[int] | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if self._waiting == []:
            self._waiting.append(number)
        else:
            _raise(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have a signal wait; MLflow would forget, interrupted, a run that it begins or ends.

        A second one does not wait: the server may not answer.
        """
        self._waiting = waiting = list[int]()
        try:
            yield
        finally:
            self._waiting = None
        if waiting:
            _raise(waiting[0])


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextmanager
def _handled() -> Iterator[_Signals]:
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals  # Python lets only the main thread handle signals
        return
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signals.note) for number in handled}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
