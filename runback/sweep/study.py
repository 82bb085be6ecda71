"""The trials of one search, in a SQLite file of Optuna's: asked for, told, and never lost.

One process at a time has a study, and the kernel lets go of its lock however that process
ends. So a trial that is RUNNING when a study is opened has nobody any more: it is put
back in the queue with the same values, before it is noted as failed, and is run again. A
kill in between puts it there no second time. What counts is not Optuna's number of a
trial but its place among those that were asked for, which a trial keeps when it is run again.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any

from runback.sweep import storage
from runback.sweep.trial import COMPLETE, FAILED, PRUNED, STATES, Result, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

    from runback.sweep.design import Design

# Attributes of a trial: its place; of one that is run again, which it was; how often its
# process was killed; its run; why it failed.
_PLACE, _AGAIN, _KILLS, _RUN, _WHY = "trial", "again", "kills", "run", "why"
# Attributes of the study: its run, and with how many trials that was finished.
_PARENT, _SHOWN = "parent", "shown"


@contextlib.contextmanager
def opened(folder: Path, design: Design) -> Iterator[Study]:
    """Give the study in a folder, made if missing, with the trials of a killed process queued.

    Raises StudyGoesOn, StudyDiffers, StudyUnreadable.
    """
    with storage.locked(folder, design):
        path = folder / "study.db"
        with storage.reading(path):
            study = Study(storage.loaded(path, design), design, path)
        yield study


class Study:
    """The trials of a search. Threads may share it. Each method may raise StudyUnreadable."""

    def __init__(self, study: optuna.Study, design: Design, path: Path) -> None:
        self.optuna = study
        self.design = design
        self.folder = path.parent
        self._path = path
        self._lock = threading.RLock()
        self._space = {name: varied.distribution() for name, varied in design.space.items()}
        for trial in self._trials("RUNNING"):
            self._queue_again(trial, trial.user_attrs.get(_KILLS, 0))

    @property
    def parent(self) -> str | None:
        """Return the id of the run of the whole search, None if it has none yet."""
        with self._held():
            found = self.optuna.user_attrs.get(_PARENT)
        return str(found) if found else None

    @parent.setter
    def parent(self, run_id: str) -> None:
        with self._held():
            self.optuna.set_user_attr(_PARENT, run_id)

    def is_done(self, count: int) -> bool:
        """Say whether so many trials have ended, and their results were shown."""
        with self._held():
            ended = len(self.results())
            return ended >= count and self.optuna.user_attrs.get(_SHOWN) == ended

    def shown(self) -> None:
        """Note that the results, as they are now, are with the search's run."""
        with self._held():
            self.optuna.set_user_attr(_SHOWN, len(self.results()))

    def claim(self, count: int) -> Trial | None:
        """Return a trial that nobody has, None if all of `count` are taken."""
        with self._held():
            queued = self._trials("WAITING")
            if not queued:
                if (place := self._places()) >= count:
                    return None
                # Queued first, so that a kill leaves a trial that knows its place.
                self.optuna.enqueue_trial({}, user_attrs={_PLACE: place})
                queued = self._trials("WAITING")
            place = queued[0].user_attrs.get(_PLACE, self._places())
            self.optuna.sampler = self.design.sampler(self.design.seed_of(place))
            asked = self.optuna.ask(self._space)
            asked.set_user_attr(_PLACE, place)  # one that somebody queued with Optuna has none
            kills = asked.user_attrs.get(_KILLS, 0)
            return Trial(place, self._name(place), self._values(asked.params), kills, asked)

    def note_run(self, trial: Trial, run_id: str) -> None:
        with self._held():
            trial.asked.set_user_attr(_RUN, run_id)

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Note a value of a trial that goes on; say whether it should be ended now."""
        with self._held():
            last = max(self._frozen(trial).intermediate_values, default=-1)
            if step <= last:
                return False  # a second fit of the same training
            trial.asked.report(value, step)
            return bool(trial.asked.should_prune())  # numpy's, of some pruners

    def end(self, trial: Trial, state: str, value: float | None = None, why: str = "") -> Result:
        """Note what came of a trial. A value that is no number has failed."""
        from optuna.trial import TrialState

        with self._held():
            if state == COMPLETE and (value is None or not math.isfinite(value)):
                state, why = FAILED, f"its metric is {value}"
            if state == FAILED:
                trial.asked.set_user_attr(_WHY, why)
            is_complete = state == COMPLETE
            told = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED}
            self.optuna.tell(
                trial.asked, value if is_complete else None, told.get(state, TrialState.FAIL)
            )
            return self._result(self._frozen(trial))

    def give_back(self, trial: Trial, kills: int) -> None:
        """Queue a trial that was ended from outside, to be run again."""
        with self._held():
            self._queue_again(self._frozen(trial), kills)

    def results(self) -> list[Result]:
        """Return what came of the trials that have ended, in their places."""
        return [self._result(trial) for trial in self._ended()]

    def without_repetitions(self) -> optuna.Study:
        """Return a study of the trials that have ended, which Optuna numbers by their places."""
        import optuna

        found = optuna.create_study(direction=self.optuna.direction)
        found.add_trials(self._ended())
        return found

    def ranked(self) -> list[Result]:
        """Return the results, the best first; those that were pruned, and that failed, last."""
        sign = -1 if self.design.direction == "maximize" else 1

        def rank(result: Result) -> tuple[int, float, int]:
            value = 0.0 if result.value is None else sign * result.value
            return STATES.index(result.state), value, result.place

        return sorted(self.results(), key=rank)

    def best(self) -> Result | None:
        """Return the best of the complete trials, None if there is none."""
        first = next(iter(self.ranked()), None)
        return first if first and first.state == COMPLETE else None

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._lock, storage.reading(self._path):
            yield

    def _ended(self) -> list[FrozenTrial]:
        with self._held():
            trials = self.optuna.get_trials(deepcopy=False)
        again = {trial.user_attrs.get(_AGAIN) for trial in trials}
        ended = [t for t in trials if t.state.is_finished() and t.number not in again]
        own = [trial for trial in ended if _PLACE in trial.user_attrs]
        return sorted(own, key=lambda trial: int(trial.user_attrs[_PLACE]))

    def _trials(self, state: str) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return self.optuna.get_trials(deepcopy=False, states=(TrialState[state],))

    def _places(self) -> int:
        """Return how many trials there are, each counted once however often it was run."""
        places = {t.user_attrs.get(_PLACE) for t in self.optuna.get_trials(deepcopy=False)}
        return len(places - {None})

    def _name(self, place: int) -> str:
        """Return a name that no other run of the study has, nor of this trial run before."""
        trials = self.optuna.get_trials(deepcopy=False)
        times = sum(trial.user_attrs.get(_PLACE) == place for trial in trials)
        return f"{self.design.name}-trial-{place}" + (f"-try-{times}" if times > 1 else "")

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self.optuna.get_trials(deepcopy=False)[trial.asked.number]

    def _queue_again(self, trial: FrozenTrial, kills: int) -> None:
        from optuna.trial import TrialState

        known = {other.user_attrs.get(_AGAIN) for other in self.optuna.get_trials(deepcopy=False)}
        if trial.number not in known and _PLACE in trial.user_attrs:
            attributes = {_PLACE: trial.user_attrs[_PLACE], _AGAIN: trial.number, _KILLS: kills}
            self.optuna.enqueue_trial(trial.params, user_attrs=attributes)
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def _values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        space = self.design.space
        return {name: space[name].value(drawn[name]) for name in space if name in drawn}

    def _result(self, trial: FrozenTrial) -> Result:
        attributes = trial.user_attrs
        state = {"COMPLETE": COMPLETE, "PRUNED": PRUNED}.get(trial.state.name, FAILED)
        value = trial.value
        epochs = len(trial.intermediate_values)
        run_id, why = str(attributes.get(_RUN, "")), str(attributes.get(_WHY, ""))
        values = self._values(trial.params)
        return Result(attributes[_PLACE], values, state, value, epochs, run_id, why)
