"""Begin an experiment: a new run, one that is active already, or one that ended."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture.sources import sqlite_file
from runback.checkpoints import replayed
from runback.checkpoints.errors import RunActive, RunElsewhere, WrongArguments
from runback.checkpoints.experiment import Experiment
from runback.checkpoints.publish import failing, publisher_of
from runback.checkpoints.values import params_of
from runback.errors import PackageMissing, RecordError
from runback.record import files, manifest
from runback.store.find import find_id
from runback.store.identity import store_id
from runback.store.places import local_path
from runback.tracking import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

    from runback.checkpoints.replayed import Past


def init(
    path: str | os.PathLike[str] = ".",
    params: Mapping[str, Any] | None = None,
    experiment: str | None = None,
    name: str | None = None,
) -> Experiment:
    """Begin an experiment: start an MLflow run, or join the active one, and log the params.

    path: the project's folder, or a file in it; its store is `mlflow.db` and `mlruns/`
    there, made if missing, unless MLFLOW_TRACKING_URI or mlflow.set_tracking_uri says
    otherwise. experiment: the group of runs. name: the run's; MLflow makes one up if None.
    Code, environment and machine are recorded as of any run (RUNBACK_RECORD=0: not).
    Raises WrongArguments before anything is logged, StoreError, CheckpointFailed.
    """
    problems: list[str] = []
    project = _project(path, problems)
    active = _active(project)
    wanted = params_of(params, active.data.params if active else {}, problems)
    for what, given in (("experiment", experiment), ("name", name)):
        if given is not None and not (isinstance(given, str) and given):
            problems.append(f"{what} is {given!r}, not a name"[:100])
        elif given is not None and active:
            problems.append(f"{what} is given, and run {active.info.run_id[:8]} is active already")
    if problems:
        raise WrongArguments("init", problems)
    if not active:
        _connect(project)
    with failing("the run cannot begin", project):
        joins = active or os.environ.get("MLFLOW_RUN_ID")
        publisher = publisher_of(active or _started(experiment, name), project)
        publisher.log_params(wanted)
        past = replayed.past_of_step(project)
        return Experiment(publisher, is_ours=active is None, is_new=not joins, past=past)


def resume(run: str, path: str | os.PathLike[str] = ".") -> Experiment:
    """Continue a run in this process: what is logged from now on is the same run's.

    run: an id, the beginning of one, a name, @latest or @best (of a tracking server, an
    id). path: as for init. `latest` and `best` of what is returned say where to go on.
    Where `runback replay` runs it, a new run goes on in its stead, from what it had then.
    Raises NoSuchRun, AmbiguousRun, RunElsewhere (a run that another machine records),
    RunActive, StoreError, CheckpointFailed.
    """
    problems: list[str] = []
    project = _project(path, problems)
    if not isinstance(run, str) or not run:
        problems.append(f"run is {run!r}, not the id or name of one"[:100])
    if problems:
        raise WrongArguments("resume", problems)
    active = _active(project)
    if not active:
        _connect(project)
    with failing(f'run "{run}" cannot go on', project):
        if replayed.is_replayed() and (past := replayed.past_of(run, project)):
            return _beside(past, active, project)
        found = _found(run)
        if active and active.info.run_id != found.info.run_id:
            raise RunActive(active.info.run_id, found.info.run_id)
        # Held before it is RUNNING: an index would take it for one that was killed.
        going_on = Experiment(publisher_of(found, project), is_ours=active is None, is_new=False)
        try:
            going_on.start()
        except BaseException:
            going_on.release()
            raise
        return going_on


def _beside(past: Past, active: Run | None, project: Path) -> Experiment:
    """Go on in a new run, or the active one; named, for MLflow draws a name from a generator.

    It has the params of the run that it stands for: MLflow refuses to change one.
    """
    import mlflow

    info = past.run.info
    run = active or mlflow.start_run(experiment_id=info.experiment_id, run_name=info.run_name)
    publisher = publisher_of(run, project)
    taken = past.run.data.params.items()
    publisher.log_params({name: text for name, text in taken if name not in run.data.params})
    return Experiment(publisher, is_ours=not active, is_new=not active, past=past)


def _project(path: Any, problems: list[str]) -> Path:
    try:
        project = Path(path).absolute()
    except TypeError:
        problems.append(f"path is {path!r}, not a path"[:100])
        return Path()
    if not project.exists():
        problems.append(f"path {str(path)!r} does not exist")
    return project if project.is_dir() else project.parent


def _connect(project: Path) -> None:
    """Point MLflow at the store. Raises PackageMissing, StoreError."""
    if find_spec("mlflow") is None:
        raise PackageMissing("mlflow", "recording runs")
    connect(project)


def _active(project: Path) -> Run | None:
    """Return the run that is active in this thread, as the store has it."""
    if "mlflow" not in sys.modules:
        return None  # nor imported here: what `connect` sets is read at its import
    import mlflow

    active = mlflow.active_run()
    if active is None:
        return None
    with failing("the active run cannot be read", project):
        return mlflow.get_run(active.info.run_id)


def _started(experiment: str | None, name: str | None) -> Run:
    import mlflow

    if experiment:
        mlflow.set_experiment(experiment)
    return mlflow.start_run(run_name=name)


def _found(text: str) -> Run:
    """Return the run that is meant, if it is this store's to go on with."""
    import mlflow

    database = sqlite_file(mlflow.get_tracking_uri())
    if database is None or database.name != "mlflow.db":
        return mlflow.get_run(text)
    found = mlflow.get_run(find_id(database.parent, text))
    _refuse_elsewhere(found, database.parent)
    return found


def _refuse_elsewhere(run: Run, root: Path) -> None:
    """Raise RunElsewhere if another store writes the run's record: it would lack what comes."""
    artifacts = local_path(run.info.artifact_uri)
    try:
        known = manifest.read(files.folder_of(Path(artifacts or "/")), run.info.run_id)
    except RecordError:
        return  # none, or damaged: this store may write it
    if known["store"] != store_id(root):
        raise RunElsewhere(run.info.run_id, known["store"], store_id(root))
