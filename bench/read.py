"""What the read commands take, whole processes: python -m bench.read [--runs N …] [--mlflow]

Against a bare Python that imports sqlite3 and json, runs the same queries and fetches all
rows (both print: and writes them as JSON); taken in turn, so that the machine's drift hits
both. --mlflow: `mlflow runs list` too.
"""

from __future__ import annotations

import argparse
import os
import pty
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.side_by_side import seconds_of, side_by_side
from bench.stores import RUNBACK, Run, Store, environ
from runback.store.listing import NUMBER

FLOOR_LS = f"""
import sqlite3, json
c = sqlite3.connect("file:mlflow.db?mode=ro", uri=True)
c.execute('''SELECT run_uuid, runs.name, experiments.name, status, start_time, end_time, user_id,
 runs.lifecycle_stage, artifact_uri FROM runs JOIN experiments USING (experiment_id)
 WHERE runs.lifecycle_stage IN ('active') ORDER BY start_time DESC, runs.rowid DESC''').fetchall()
c.execute("SELECT run_uuid, key, value FROM params").fetchall()
c.execute("SELECT run_uuid, key, value FROM tags").fetchall()
c.execute('''SELECT run_uuid, key, {NUMBER} FROM latest_metrics
 WHERE NOT (key >= 'system/' AND key < 'system0')''').fetchall()
"""
FLOOR_PRINT = f"""rows = []
{FLOOR_LS.replace("c.execute(", "rows += c.execute(")}
print(json.dumps(rows))
"""
FLOOR_SHOW = """
import sqlite3, json
c = sqlite3.connect("file:mlflow.db?mode=ro", uri=True)
for table in ("runs", "params", "tags", "latest_metrics"):
    c.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", ["RUN"]).fetchall()
"""


def main() -> None:
    arguments = parsed()
    for runs in arguments.runs:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            store.add(runs)
            store.index()
            print(f"{runs:,} runs")
            measure(Path(folder), arguments.repeat)
            if arguments.mlflow:
                show("mlflow runs list", [mlflow_seconds(Path(folder))])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--mlflow", action="store_true")
    return parser.parse_args()


def measure(root: Path, repeat: int) -> None:
    run_id = Run(7).run_id
    for words, name, floor in (
        (("ls",), "ls", FLOOR_LS),
        (("ls", "--json"), "ls --json", FLOOR_LS),
        (("ls", "--json"), "ls --json, both print", FLOOR_PRINT),
        (("show", run_id), "show", FLOOR_SHOW.replace("RUN", run_id)),
    ):
        bare = (sys.executable, "-c", floor)
        pair = side_by_side((*RUNBACK, *words), bare, root, repeat, environ())
        print(f"  {name:22s} {pair}", flush=True)
    show("ls on a terminal", [on_terminal(root, "ls") for _ in range(repeat)])
    show("show on a terminal", [on_terminal(root, "show", run_id) for _ in range(repeat)])
    show("--version", [seconds_of((*RUNBACK, "--version"), root, environ()) for _ in range(repeat)])


def on_terminal(root: Path, *words: str) -> float:
    """Return what a command on a terminal takes until it has ended."""
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.execve(sys.executable, [*RUNBACK, *words], {**environ(), "TERM": "xterm"})
    while True:
        try:
            if not os.read(terminal, 65_536):
                break
        except OSError:
            break
    os.waitpid(pid, 0)
    os.close(terminal)
    return time.perf_counter() - began


def mlflow_seconds(root: Path) -> float:
    command = ("mlflow", "runs", "list", "--experiment-id", "1")
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    return seconds_of((sys.executable, "-m", *command), root, {**environ(), **uri})


def show(name: str, seconds: list[float]) -> None:
    spread = f"{min(seconds):.3f} to {max(seconds):.3f}, n={len(seconds)}"
    print(f"  {name:18s} {statistics.median(seconds):.3f} s ({spread})", flush=True)


if __name__ == "__main__":
    main()
