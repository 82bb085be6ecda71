"""The runs of a search: its own, and those of its trials below it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from runback.checkpoints.errors import CheckpointFailed
from runback.checkpoints.start import init, resume
from runback.errors import NoSuchRun, StoreError
from runback.store import tags
from runback.sweep import report
from runback.sweep.errors import SearchNotLogged, SearchRunGone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from mlflow import MlflowClient

    from runback.checkpoints.experiment import Experiment
    from runback.sweep.study import Study
    from runback.sweep.trial import Trial

# Of the process that searches; a trial is a run of its own, and no replay even in one.
_NOT_HANDED_ON = {
    *("MLFLOW_RUN_ID", "RUNBACK_REPLAY", "RUNBACK_REPLAY_ATTEMPT", "RUNBACK_REPLAY_FROM"),
}
_FOLDER = "search"


def begun(study: Study, project: Path, experiment: str) -> Experiment:
    """Start the run of a search, or go on with it if the study has one.

    Raises SearchRunGone, and what runback.init does.
    """
    if study.parent:
        try:
            return resume(study.parent, project)
        except (CheckpointFailed, NoSuchRun, StoreError) as error:
            raise SearchRunGone(study.design.name, study.parent, str(error)) from error
    run = init(project, study.design.terms, experiment, study.design.name)
    study.parent = run.id
    return run


def options(values: Mapping[str, Any]) -> list[str]:
    """Return the options that say all parameters of a training; values are read back to the bit."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def environ(
    given: Mapping[str, str], study: Study, trial: Trial, run: Experiment, experiment: str
) -> dict[str, str]:
    """Return the variables of a trial's process.

    MLflow gives the tags in MLFLOW_RUN_CONTEXT to the runs that the process starts.
    MLFLOW_PARENT_RUN_ID, which is in their records, says to `runback replay` that they
    are below another run by these variables alone, and can be replayed without it.
    """
    context = {
        tags.PARENT_TAG: run.id,
        tags.STUDY_TAG: study.design.name,
        tags.TRIAL_TAG: str(trial.place),
    }
    kept = {name: value for name, value in given.items() if name not in _NOT_HANDED_ON}
    return {
        **kept,
        "MLFLOW_EXPERIMENT_NAME": experiment,
        "MLFLOW_PARENT_RUN_ID": run.id,
        "MLFLOW_RUN_CONTEXT": json.dumps(context),
    }


def note(run: Experiment, study: Study) -> None:
    """Log to the search's run what is the best so far, at the number of trials that have ended.

    Raises SearchNotLogged, CheckpointFailed.
    """
    if best := study.best():
        run.checkpoint(
            step=len(study.results()), metrics={f"best_{study.design.metric}": best.value}
        )
        with _client(run, study) as client:
            client.set_tag(run.id, tags.BEST_TRIAL_TAG, best.run_id)
            client.set_tag(run.id, tags.BEST_PARAMS_TAG, json.dumps(dict(best.values)))


def finish(run: Experiment, study: Study) -> None:
    """Log to the search's run what came of all trials, as CSV and as pictures.

    Raises SearchNotLogged.
    """
    whole = {"bbox_inches": "tight"}  # or names at its edge are cut off
    with _client(run, study) as client:
        client.log_text(run.id, report.as_csv(study), f"{_FOLDER}/trials.csv")
        for name, figure in report.pictures(study):
            client.log_figure(run.id, figure, f"{_FOLDER}/{name}.png", save_kwargs=whole)


@contextlib.contextmanager
def _client(run: Experiment, study: Study) -> Iterator[MlflowClient]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        yield MlflowClient()
    except MlflowException as error:
        reason = error.message.split("\n")[0]
        raise SearchNotLogged(run.id, reason, study.folder) from error
    except OSError as error:
        raise SearchNotLogged(run.id, error.strerror or str(error), study.folder) from error
