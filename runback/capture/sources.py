"""Which stores this process logs to: SQLite files, read directly, or behind MLflow's client."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runback.capture.database import Database
from runback.capture.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.capture.source import Source


def databases() -> Iterator[Database]:
    """Yield the SQLite files that this process logs to.

    Of MLflow's global store, and of every client of its own (Lightning's MLFlowLogger
    makes one), which MLflow keeps in a private map; a test watches that it does.
    """
    for uri in _uris():
        path = sqlite_file(uri)
        if path is not None and path.exists():
            yield Database(path)


def servers() -> Iterator[Server]:
    """Yield the stores of this process that only MLflow's client can read, which is slow."""
    from mlflow.exceptions import MlflowException

    for uri in _uris():
        if not uri.startswith("sqlite:") and ("://" in uri or uri.startswith("file:")):
            with contextlib.suppress(MlflowException):  # one that MLflow refuses has no runs
                yield Server(uri)


def sources() -> Iterator[Source]:
    """Yield all stores that this process logs to."""
    yield from databases()
    yield from servers()


def sqlite_file(uri: str) -> Path | None:
    """Return the file that SQLAlchemy opens for a URI, None if it is no SQLite file.

    MLflow quotes its default one as a URL (`my%20project`), and SQLAlchemy unquotes it.
    """
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name).absolute() if name and name != ":memory:" else None


def _uris() -> list[str]:
    service = sys.modules.get("mlflow.tracking._tracking_service.utils")
    store = sys.modules.get("mlflow.store.tracking.sqlalchemy_store")
    first = [service.get_tracking_uri()] if service else []
    engines = getattr(getattr(store, "SqlAlchemyStore", None), "_engine_map", {})
    return list(dict.fromkeys([*first, *list(engines)]))
