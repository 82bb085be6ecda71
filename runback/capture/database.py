"""Runs in an SQLite file, read as it is while MLflow writes to it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from runback.capture.source import Glimpse
from runback.store.export import Reader, reading
from runback.store.tags import SESSION_TAG

if TYPE_CHECKING:
    from pathlib import Path

# Not the 20 s that MLflow waits: the thread is to be free again soon.
WAIT_S = 2


class Database:
    """An SQLite file, read through a connection of our own, which blocks no writer in WAL mode."""

    beat_s = 3.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path.parent
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
        """Say whether somebody writes just now: perhaps the very thread that asks."""
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return True
        finally:
            connection.close()
        return False
