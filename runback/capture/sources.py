"""Where the runs of this process are: in SQLite files, read directly, or behind a client."""

from __future__ import annotations

import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runback.store.export import Reader, reading
from runback.store.places import local_path
from runback.store.tables import SESSION_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.record.metrics import Point
    from runback.record.state import Rows

# Not the 20 s that MLflow waits: the thread is to be free again soon.
WAIT_S = 2


@dataclass(frozen=True)
class Glimpse:
    """A run as the store has it now. points: those after the last glimpse. last: where they end."""

    rows: Rows
    points: list[Point]
    last: int

    @property
    def is_running(self) -> bool:
        return bool(self.rows["runs"][0]["status"] in ("RUNNING", "SCHEDULED"))

    @property
    def artifacts(self) -> Path | None:
        """Return the run's artifact folder, None if it is no folder of this machine."""
        path = local_path(self.rows["runs"][0]["artifact_uri"])
        return Path(path).absolute() if path else None


class Source(Protocol):
    """A tracking store. root: the folder of a local one, else None. beat_s: how often to look."""

    root: Path | None
    uri: str
    beat_s: float

    def runs(self, session: str) -> list[str]:
        """Return the runs with this session tag."""

    def read(self, run_id: str, after: int) -> Glimpse:
        """Return the run, with its metric points after `after`. Raises KeyError if it is gone."""

    def end(self, run_id: str, status: str) -> None:
        """Give a run that is still RUNNING its status."""

    def is_busy(self) -> bool:
        """Say whether somebody writes just now: perhaps the very thread that asks."""


class Database:
    """An SQLite file, read through a connection of our own, which blocks no writer in WAL mode."""

    beat_s = 3.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Path | None = path.parent
        self.uri = f"sqlite:///{path}"

    def runs(self, session: str) -> list[str]:
        with reading(self.path) as connection:
            sql = "SELECT run_uuid FROM tags WHERE key = ? AND value = ?"
            return [row[0] for row in connection.execute(sql, [SESSION_TAG, session]).fetchall()]

    def read(self, run_id: str, after: int) -> Glimpse:
        with reading(self.path) as connection:
            reader = Reader(connection)
            # The status first: what was logged before a run's end is then all there.
            rows = reader.rows(run_id)
            if not rows:
                raise LookupError(f"run {run_id} is not in {self.path} any more")
            return Glimpse(rows, *reader.points(run_id, after))

    def end(self, run_id: str, status: str) -> None:
        connection = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        try:
            connection.execute(
                "UPDATE runs SET status = ?, end_time = ?"
                " WHERE run_uuid = ? AND status = 'RUNNING'",
                [status, time.time_ns() // 1_000_000, run_id],
            )
        finally:
            connection.close()

    def is_busy(self) -> bool:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return True
        finally:
            connection.close()
        return False


def sources() -> Iterator[Source]:
    """Yield the stores that this process logs to.

    MLflow's global one, and every database that a client of its own opened (Lightning's
    MLFlowLogger does), which MLflow keeps in a private map; a test watches that it does.
    """
    from runback.capture.server import Server

    for uri in _uris():
        if uri.startswith("sqlite:"):
            path = _file(uri)
            if path is not None and path.exists():
                yield Database(path)
        elif "://" in uri or uri.startswith("file:"):
            yield Server(uri)


def _file(uri: str) -> Path | None:
    """Return the file that SQLAlchemy opens for a URI.

    MLflow quotes its default one as a URL (`my%20project`), and SQLAlchemy unquotes it.
    """
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name).absolute() if name and name != ":memory:" else None


def _uris() -> list[str]:
    service = sys.modules.get("mlflow.tracking._tracking_service.utils")
    store = sys.modules.get("mlflow.store.tracking.sqlalchemy_store")
    first = [service.get_tracking_uri()] if service else []
    engines = getattr(getattr(store, "SqlAlchemyStore", None), "_engine_map", {})
    return list(dict.fromkeys([*first, *list(engines)]))
