"""Ask a server through MLflow's client: with bounded patience, and errors that say what helps."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture.server import Server
from runback.errors import PackageMissing
from runback.record.state import RUN_ID
from runback.remote import address
from runback.remote.artifacts import Artifacts
from runback.remote.errors import ServerError
from runback.store.tags import SESSION_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runback.capture.source import Glimpse

# Databricks takes no more experiments at a time.
EXPERIMENTS_AT_ONCE = 100
PAGE = 1000
_STATUS = re.compile(r"(?:error code|too many) (\d{3})\b")
_NO_ENTRY = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
_BUSY = ("429", "500", "502", "503", "504")
# Packages that are not called like what they install.
_PACKAGES = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary"}
LOGIN = "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…   # or MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True)
class Found:
    """A run on the server. digest: of all that a search tells of it, latest metrics included.

    captured: whether a process recorded it, whose record is or will be among its artifacts.
    """

    run_id: str
    digest: str
    captured: bool


@dataclass(frozen=True)
class Listing:
    """What is on the server. experiments: names by id. models: their ids."""

    experiments: dict[int, str]
    runs: list[Found]
    models: set[str]


class Client:
    """The runs of one server."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        self._client = MlflowClient(tracking_uri=uri)
        self._server = Server(uri)

    def greet(self) -> None:
        """Ask for next to nothing. Raises what `speaking` words."""
        self._client.search_experiments(max_results=1)

    def search(self) -> Listing:
        """Return all runs, deleted ones too; a few requests, whatever was logged."""
        from mlflow.entities import ViewType

        search = self._client.search_experiments
        experiments = {
            found.experiment_id: found
            for found in _paged(search, view_type=ViewType.ALL, max_results=PAGE)
        }
        runs, models, ids = list[Found](), set[str](), list(experiments)
        for at in range(0, len(ids), EXPERIMENTS_AT_ONCE):
            some = ids[at : at + EXPERIMENTS_AT_ONCE]
            known = self._models(some)
            models.update(model_id for found in known.values() for model_id in found)
            runs += [
                _found(run, experiments[run.info.experiment_id], known.get(run.info.run_id, {}))
                for run in _paged(self._client.search_runs, some, "", ViewType.ALL, PAGE)
                if RUN_ID.fullmatch(run.info.run_id)
            ]
        return Listing({int(key): found.name for key, found in experiments.items()}, runs, models)

    def _models(self, experiment_ids: list[str]) -> dict[str, dict[str, str]]:
        """Return what a search tells of the logged models, by run and model."""
        from mlflow.exceptions import MlflowException

        found: dict[str, dict[str, str]] = {}
        try:
            for model in _paged(self._client.search_logged_models, experiment_ids):
                about = found.setdefault(model.source_run_id or "", {})
                about[model.model_id] = str(sorted(model.to_dictionary().items()))
        except MlflowException as error:
            if error.error_code not in ("ENDPOINT_NOT_FOUND", "NOT_FOUND"):
                raise  # a server older than MLflow 3 has none
        return found

    def read(self, run_id: str) -> Glimpse:
        """Return all of a run; a request for each of its metrics."""
        return self._server.read(run_id, 0)

    def artifacts(self, item: str) -> Artifacts:
        """Return those of a run or model."""
        if item.startswith("m-"):
            return Artifacts(self._client.get_logged_model(item).artifact_location, self.uri)
        return Artifacts(self._client.get_run(item).info.artifact_uri, self.uri)


@contextmanager
def speaking(uri: str) -> Iterator[Client]:
    """Give a client of the server at `uri`, which has answered once.

    Raises ServerError, then or later: it does not answer, is none of MLflow's, lets nobody in.
    """
    shown = address.shown(uri)
    try:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise PackageMissing("mlflow", f"reading {shown}") from error
    try:
        with _patience(timeout_s=10, retries=0):
            if not uri.startswith(("http", "databricks")):
                _refuse_no_database(uri, shown)
            client = Client(uri)
            client.greet()
        with _patience(timeout_s=60, retries=2):
            yield client
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        raise ServerError(shown, *_worded(error, shown)) from error
    except ModuleNotFoundError as error:  # of a database, or of a kind of storage
        name = str(error.name)
        raise PackageMissing(_PACKAGES.get(name, name), f"reading {shown}") from error


def _paged(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    token: str | None = None
    while True:
        found = search(*arguments, **options, page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def _found(run: Any, experiment: Any, models: dict[str, str]) -> Found:
    message = run.to_proto()
    parts = [*message.data.metrics, *message.data.params, *message.data.tags]
    parts += [message.info, message.inputs, message.outputs]
    lines = sorted(part.SerializeToString(deterministic=True) for part in parts)
    tags = sorted(experiment.tags.items())
    about = (experiment.name, experiment.lifecycle_stage, tags, sorted(models.items()), lines)
    digest = hashlib.sha256(repr(about).encode()).hexdigest()
    return Found(run.info.run_id, digest, SESSION_TAG in run.data.tags)


@contextmanager
def _patience(timeout_s: int, retries: int) -> Iterator[None]:
    """Have MLflow wait no longer, unless the user says how long; by default it does for minutes."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _refuse_no_database(uri: str, shown: str) -> None:
    """Raise unless MLflow's tables are there: its client would make them, and try for minutes."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.engine import make_url

    file = make_url(uri).database if uri.startswith("sqlite") else None
    is_missing = file is not None and not Path(file).exists()
    if is_missing or not inspect(create_engine(uri)).has_table("experiments"):
        reason = "there is no such file" if is_missing else "it has no tables of MLflow's"
        raise ServerError(shown, reason, "runback ls --store FOLDER   # or http://HOST:PORT")


def _worded(error: Exception, shown: str) -> tuple[str, str]:
    """Return what is wrong in a line, and what helps."""
    text = " ".join(str(error).split())
    status = _STATUS.search(text)
    if (status and status[1] in ("401", "403")) or getattr(error, "error_code", "") in _NO_ENTRY:
        return "it asks who you are, or does not let you", LOGIN
    probe = f"curl {shown}/version   # MLflow's servers answer with a number"
    if status and status[1] in _BUSY:
        return f"it answers with HTTP status {status[1]}", probe
    if status or "valid JSON format" in text:
        return "what answers there is no tracking server of MLflow", probe
    cause = _innermost(error)
    if isinstance(cause, TimeoutError) or "timed out" in text:
        return "it does not answer in time", f"{probe}; MLFLOW_HTTP_REQUEST_TIMEOUT=60 waits longer"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror, probe if shown.startswith("http") else ""
    return address.shown(text)[:300], ""


def _innermost(error: BaseException) -> BaseException:
    while following := error.__cause__ or error.__context__:
        error = following
    return error
