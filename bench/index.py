"""What `runback index` takes, whole processes: python -m bench.index [--full] [--runs N] [--peers]

Runs of 20 params, 20 metrics with 10 points each and 6 tags, whose records lie in mlruns/
and in the page cache. --full: 10,000 runs, and what MLflow and mlflow-export-import take.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from bench import peers, stores
from bench.stores import RUNBACK, Spent, Store
from runback.record import files, metrics, state
from runback.store.places import scan
from runback.store.schema import CACHE_KIB

FLOOR = (sys.executable, "-m", "bench.index", "--floor")


def main() -> None:
    arguments = parsed()
    if arguments.floor:
        insert_barely(Path.cwd())
        return
    runs = arguments.runs or (10_000 if arguments.full else 1_000)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        none = store.index()
        store.add(runs)
        print(f"{runs:,} runs, {runs * stores.METRICS * stores.STEPS:,} points")
        measure(store, runs, arguments.repeat, none)
    if arguments.full or arguments.peers:
        peers.compare(arguments.peer_runs)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="10,000 runs, and --peers")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peers", action="store_true", help="measure the other tools too")
    parser.add_argument("--peer-runs", type=int, default=500)
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(store: Store, runs: int, repeat: int, none: Spent) -> None:
    """Print the table. none: what an index of nothing took."""
    whole: list[Spent] = []
    barely: list[Spent] = []
    for _ in range(max(2, repeat // 2)):
        store.empty()
        barely.append(store.seconds(*FLOOR))
        store.empty()
        whole.append(store.index())
    show("from nothing", whole)
    show("from nothing, json and SQL alone", barely)
    nothing, one, start, bare = [list[Spent]() for _ in range(4)]
    for _ in range(repeat):
        nothing.append(store.index())
        start.append(store.seconds(*RUNBACK, "--version"))
        store.add(1)
        one.append(store.index())
        bare.append(store.seconds(sys.executable, "-c", "pass"))
    show("nothing new (aim: 1 s)", nothing)
    show("one new run (aim: 1.2 s)", one)
    show("runback --version", start)
    show("python -c pass", bare)
    wall_s = statistics.median(spent.wall_s for spent in whole) - none.wall_s
    cpu_s = statistics.median(spent.cpu_s for spent in whole) - none.cpu_s
    print(f"  {wall_s / runs * 1000:7.3f} ms  for each run, from nothing, net of start-up", end="")
    print(f" (processor {cpu_s / runs * 1000:.3f} ms)")
    size = (store.root / "mlflow.db").stat().st_size
    print(f"  {size / 1e6:7.1f} MB  mlflow.db")


def show(name: str, spent: list[Spent]) -> None:
    seconds = [one.wall_s for one in spent]
    spread = f"{min(seconds):.3f} to {max(seconds):.3f}, n={len(seconds)}"
    cpu_s = statistics.median(one.cpu_s for one in spent)
    wall_s = statistics.median(seconds)
    print(f"  {wall_s:7.3f} s   {name} ({spread}; processor {cpu_s:.3f} s)", flush=True)


def insert_barely(root: Path) -> None:
    """Do the least that an index could: parse run.json and metrics.jsonl, insert their rows."""
    places = scan(root / "mlruns")
    with closing(sqlite3.connect(root / "mlflow.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("BEGIN")
        for run_id in places.stamps:
            record = places.record(run_id)
            found = state.Rows(files.read_json(record / files.RUN)["rows"])
            for table, rows in found.items():
                insert(connection, table, rows)
            for points in metrics.read(record / files.METRICS):
                insert_points(connection, run_id, points)
        connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = ", ".join(rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    connection.executemany(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({values})", rows)


def insert_points(connection: sqlite3.Connection, run_id: str, points: list[metrics.Point]) -> None:
    names = "(key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)"
    connection.executemany(
        f"INSERT OR IGNORE INTO metrics {names}", ((*point, run_id) for point in points)
    )
    last = {point.key: (*point, run_id) for point in points}
    connection.executemany(f"INSERT INTO latest_metrics {names}", last.values())


if __name__ == "__main__":
    main()
