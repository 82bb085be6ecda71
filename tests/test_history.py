"""The history of a metric: whole, and sampled at a cost that does not grow with its length."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runback.record.metrics import LARGEST, Point
from runback.store import history

RUN = "a" * 32


@pytest.fixture
def database(tmp_path: Path, template: Path) -> Iterator[sqlite3.Connection]:
    shutil.copyfile(template, tmp_path / "mlflow.db")
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    yield connection
    connection.close()


def log(connection: sqlite3.Connection, *points: Point, run_id: str = RUN) -> None:
    rows = [(p.key, p.value, p.timestamp, run_id, p.step, p.is_nan) for p in points]
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)


def line(key: str, count: int, step: int = 1) -> list[Point]:
    return [Point(key, float(k), k, k * step, False) for k in range(count)]


def test_points_are_in_order_and_as_logged(database: sqlite3.Connection) -> None:
    logged = [
        Point("loss", 0.25, 3, 2, False),
        Point("loss", 0.0, 1, 0, True),
        Point("acc", 0.5, 1, 0, False),
        Point("loss", LARGEST, 2, 1, False),
        Point("loss", 0.75, 0, 1, False),
    ]
    log(database, *logged)
    log(database, Point("loss", 9.0, 9, 9, False), run_id="b" * 32)
    nan, infinity, later, last = logged[1], logged[3], logged[4], logged[0]
    assert history.points(database, RUN, "loss") == [nan, infinity, later, last]
    assert history.all_points(database, RUN) == logged
    assert history.points(database, RUN, "none") == []
    assert history.samples(database, RUN, "none", 9) == []


def test_samples_say_what_was_logged_last(database: sqlite3.Connection) -> None:
    log(database, Point("loss", 1.0, 5, 0, False), Point("loss", 2.0, 4, 0, False))
    log(database, Point("loss", 0.0, 6, 1, True), Point("loss", -LARGEST, 7, 2, False))
    (step, value), (_, nan), (_, infinity) = history.samples(database, RUN, "loss", 10)
    assert (step, value, infinity) == (0, 2.0, -math.inf)
    assert math.isnan(nan)


def test_samples_are_spread(database: sqlite3.Connection) -> None:
    log(database, *line("loss", 1001))
    expected = [(step, float(step)) for step in range(0, 1001, 100)]
    assert history.samples(database, RUN, "loss", 11) == expected
    assert history.samples(database, RUN, "loss", 1) == [(1000, 1000.0)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40), st.integers(2, 30))
def test_samples_have_the_ends(steps: list[int], count: int) -> None:
    connection = sqlite3.connect(":memory:")
    sql = "CREATE TABLE metrics (key, value, timestamp, run_uuid, step, is_nan)"
    connection.execute(sql)
    log(connection, *(Point("m", float(n), n, step, False) for n, step in enumerate(steps)))
    found = history.samples(connection, RUN, "m", count)
    connection.close()
    last = {step: float(n) for n, step in enumerate(steps)}
    assert dict(found).items() <= last.items()
    assert (found[0][0], found[-1][0]) == (min(steps), max(steps))
    assert len(found) <= count


def opcodes(connection: sqlite3.Connection, key: str) -> int:
    """Return how many instructions SQLite executes for the samples of a metric."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    connection.set_progress_handler(step, 1)
    history.samples(connection, RUN, key, 20)
    connection.set_progress_handler(None, 0)
    return count


def test_the_cost_of_samples_does_not_grow(database: sqlite3.Connection) -> None:
    log(database, *line("short", 100), *line("long", 100_000), *line("one step", 100_000, step=0))
    short = opcodes(database, "short")
    assert short > 20
    assert opcodes(database, "long") < 2 * short
    assert opcodes(database, "one step") < 2 * short
