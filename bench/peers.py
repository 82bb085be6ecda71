"""What other tools take to bring the same runs into a store, against `runback index`."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import stores
from bench.stores import Spent, spent

EXPORT_IMPORT = ("mlflow-export-import==1.2.0", "tabulate==0.9.0", "shortuuid==1.0.13")
EXPORT_IMPORT_RUNS = 50
REPEAT = 3
CLI = "from {} import main; main()"


def compare(runs: int) -> None:
    """Print what each run takes, net of start-up, by each tool and by the index in turn."""
    print(f"for each run, net of start-up, {runs} runs ({EXPORT_IMPORT_RUNS} of the last):")
    with tempfile.TemporaryDirectory() as folder:
        migrate, ours = migrate_filestore(Path(folder), runs)
    show("mlflow migrate-filestore", migrate, ours, 10)
    with tempfile.TemporaryDirectory() as folder:
        try:
            both = export_import(Path(folder))
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"  mlflow-export-import: not measured, {error}")
            return
    show("mlflow-export-import, through a server", both, ours, 50)


def show(name: str, theirs: Spent, ours: Spent, aim: int) -> None:
    print(f"  {name}: {theirs.wall_s * 1000:.1f} ms against {ours.wall_s * 1000:.2f} ms", end="")
    print(f", x{theirs.wall_s / ours.wall_s:.0f} (aim: {aim};", end=" ")
    print(f"by processor time x{theirs.cpu_s / ours.cpu_s:.0f})", flush=True)


def each(some: Sequence[Spent], none: Sequence[Spent], runs: int) -> Spent:
    """Return the difference of the medians for each run."""
    wall_s, cpu_s = (
        (statistics.median(map(field, some)) - statistics.median(map(field, none))) / runs
        for field in (lambda spent: spent.wall_s, lambda spent: spent.cpu_s)
    )
    return Spent(wall_s, cpu_s)


def migrate_filestore(folder: Path, runs: int) -> tuple[Spent, Spent]:
    """Return what MLflow's migration and the index take for each run."""
    stores.write_file_store(folder / "none" / "mlruns", range(0))
    stores.write_file_store(folder / "some" / "mlruns", range(runs))
    (folder / "ours").mkdir()
    store = stores.Store(folder / "ours")
    none, our_none, some, our_some = [list[Spent]() for _ in range(4)]
    for number in range(REPEAT):
        none.append(_migrate(folder, "none", number))
        our_none.append(store.index())
    store.add(runs)
    for number in range(REPEAT):
        some.append(_migrate(folder, "some", number))
        store.empty()
        our_some.append(store.index())
    return each(some, none, runs), each(our_some, our_none, runs)


def _migrate(folder: Path, name: str, number: int) -> Spent:
    command = [sys.executable, "-m", "mlflow", "migrate-filestore", "--no-progress"]
    command += ["--source", str(folder / name), "--target", f"sqlite:///{folder}/{name}{number}.db"]
    return spent(command, folder, environ({}))


def environ(more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "RUNBACK_RECORD": "0", **more}


def export_import(folder: Path) -> Spent:
    """Return what export and import take for each run; the server's processor time is left out.

    Net of start-up: an experiment with one run is subtracted from one with some more.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*pip, str(folder / "site"), *EXPORT_IMPORT], check=True, capture_output=True)
    paths = f"{folder / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    database = f"sqlite:///{folder}/source.db"
    variables = environ({"PYTHONPATH": paths, "MLFLOW_TRACKING_URI": database})
    names = {"warm": 1, "one": 1, "some": 1 + EXPORT_IMPORT_RUNS}
    for name, runs in names.items():
        _log(folder, name, runs, variables)
    exported = [_export(folder, name, variables) for name in names]
    with serving(folder, variables) as uri:
        variables["MLFLOW_TRACKING_URI"] = uri
        imported = [_import(folder, name, variables) for name in names]
    out, back = (each([x[2]], [x[1]], EXPORT_IMPORT_RUNS) for x in (exported, imported))
    return Spent(out.wall_s + back.wall_s, out.cpu_s + back.cpu_s)


def _log(folder: Path, name: str, runs: int, variables: dict[str, str]) -> None:
    """Make an experiment with runs, by MLflow itself."""
    command = [sys.executable, "-m", "bench.peers", name, str(runs)]
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)


def _export(folder: Path, name: str, variables: dict[str, str]) -> Spent:
    program = CLI.format("mlflow_export_import.experiment.export_experiment")
    words = ["--experiment", name, "--output-dir", str(folder / "out" / name)]
    return spent([sys.executable, "-c", program, *words], folder, variables)


def _import(folder: Path, name: str, variables: dict[str, str]) -> Spent:
    program = CLI.format("mlflow_export_import.experiment.import_experiment")
    words = ["--experiment-name", name, "--input-dir", str(folder / "out" / name)]
    return spent([sys.executable, "-c", program, *words], folder, variables)


@contextmanager
def serving(folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """Run an MLflow server with a store of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/target.db"]
    own = variables | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/target.db"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait(url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise OSError(f"{url} did not answer in 120 s")


def log_runs(name: str, runs: int) -> None:
    """Log runs like those of stores.py into the store that MLFLOW_TRACKING_URI names."""
    import mlflow
    from mlflow.entities import Metric, Param

    client = mlflow.MlflowClient()
    experiment_id = client.create_experiment(name)
    for number in range(runs):
        run = stores.Run(number)
        new = client.create_run(experiment_id, run_name=run.name, tags={"model": "convolution"})
        params = [Param(key, value) for key, value in run.params().items()]
        points = [Metric(p.key, p.value, p.timestamp, p.step) for p in run.points()]
        client.log_batch(new.info.run_id, points, params)
        client.set_terminated(new.info.run_id)


if __name__ == "__main__":
    log_runs(sys.argv[1], int(sys.argv[2]))
