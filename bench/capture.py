"""What capture costs a training: python -m bench.capture [--full] [start] [log] [size]

start: what it adds to mlflow.start_run, in a project of 1,000 files and 20 MB. log: what it
adds to log_metric. size: what the record adds to a run with a model of 10 MB. On against
off (RUNBACK_RECORD=0) in turn, the same script in the same folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.side_by_side import Pair
from runback.store.create import create

ROOT = Path(__file__).resolve().parents[1]
MODEL_BYTES = 10_000_000
ON, OFF = "1", "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="start|log|size")
    parser.add_argument("--full", action="store_true", help="10,000 calls and 10 pairs")
    arguments = parser.parse_args()
    steps: dict[str, Callable[[bool], None]] = {"start": start, "log": log, "size": size}
    for name in arguments.what or steps:
        steps[name](arguments.full)


def start(full: bool) -> None:
    """Print what capture adds to a run's start, and how long until the start is recorded."""
    on: list[dict[str, float]] = []
    off: list[dict[str, float]] = []
    with project(files=1_000, file_bytes=20_000) as root:
        for record in (OFF, ON):
            child(root, record, "start")  # not counted
        for number in range(20 if full else 8):
            sides = [(ON, on), (OFF, off)]
            for record, found in sides if number % 2 else reversed(sides):
                found.append(child(root, record, "start"))
        provider_ms = [provider_import_ms(root) for _ in range(5)]
    print("a run's start in a project of 1,000 files, 20 MB, on against off:")
    print(f"  mlflow.start_run (aim: +0.25 s): {pair(on, off, 'start_run_s')}")
    print(f"  its thread's processor time: {pair(on, off, 'start_run_cpu_s')}")
    print(f"  Python that runs just after it: {pair(on, off, 'work_s')}")
    print(f"  mlflow.end_run to the process's end: {pair(on, off, 'end_s')}")
    print(f"  importing the provider: {statistics.median(provider_ms):.1f} ms")
    complete = [found["complete_s"] for found in on]
    print(f"  start recorded after: {statistics.median(complete):.2f} s ({spread(complete)})")


def pair(on: list[dict[str, float]], off: list[dict[str, float]], name: str) -> Pair:
    return Pair([found[name] for found in on], [found[name] for found in off])


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}, n={len(values)}"


def provider_import_ms(root: Path) -> float:
    """Return how long it takes to import what `import mlflow` imports of ours."""
    program = (
        "import time, typing; began = time.perf_counter(); import runback.capture.provider;"
        " print((time.perf_counter() - began) * 1000)"
    )
    command = [sys.executable, "-c", program]
    return float(subprocess.check_output(command, cwd=root, env=environ(root, ON)))


def log(full: bool) -> None:
    """Print what capture adds to a loop of log_metric calls.

    Two processes, each with a store of its own, make a block of calls in turn; one is
    stopped while the other works. Anew some times: one process is not as fast as the next.
    """
    rounds, blocks, calls = (4, 10, 1_000) if full else (2, 4, 1_000)
    wall, cpu = Pair([], []), Pair([], [])
    for _ in range(rounds):
        with logger(ON) as on, logger(OFF) as off:
            for count in range(blocks + 1):
                sides = [(on, wall.one_s, cpu.one_s), (off, wall.other_s, cpu.other_s)]
                for process, wall_s, cpu_s in sides if count % 2 else reversed(sides):
                    block = one_block(process, calls)
                    if count:  # the first is not counted: the start is recorded meanwhile
                        wall_s.append(block["wall_s"])
                        cpu_s.append(block["cpu_s"])
    print(f"{rounds} loops of {blocks * calls:,} calls of log_metric, on against off (aim: x1.02):")
    for name, both in (("time", wall), ("processor time", cpu)):
        total = sum(both.one_s) / sum(both.other_s)
        print(f"  {name}, blocks of {calls:,}: {both}")
        print(f"    median of the pairs x{both.ratio:.3f}, all of them x{total:.3f}")


@contextmanager
def logger(record: str) -> Iterator[subprocess.Popen[str]]:
    """Run a training that waits, stopped, for the number of calls that it is to make."""
    with project(files=30, file_bytes=10_000) as root:
        process = subprocess.Popen(
            [sys.executable, "train.py", "log"],
            cwd=root,
            env=environ(root, record),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            one_block(process, 1)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.communicate()


def one_block(process: subprocess.Popen[str], calls: int) -> dict[str, float]:
    assert process.stdin
    assert process.stdout
    process.send_signal(signal.SIGCONT)
    process.stdin.write(f"{calls}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    found: dict[str, float] = json.loads(line)
    return found


def size(full: bool) -> None:
    """Print how many bytes the record adds to a run that logged a model of 10 MB."""
    print("bytes of the record of a run with a model of 10 MB (aim: 3 %):")
    with project(files=30, file_bytes=10_000) as root:
        show_size("30 files, 300 kB", root)
    with tempfile.TemporaryDirectory() as folder:
        clone = ["git", "clone", "--quiet", str(ROOT), f"{folder}/project"]
        if subprocess.run(clone, capture_output=True).returncode:
            print("  this project: not measured, it is not in a git repository")
            return
        root = Path(folder, "project")
        prepare(root)
        show_size("this project", root)


def show_size(name: str, root: Path) -> None:
    artifacts = Path(child(root, ON, "model")["artifacts"])
    sizes = {path.name: path.stat().st_size for path in (artifacts / "runback").iterdir()}
    assert (artifacts / "model.bin").stat().st_size == MODEL_BYTES
    parts = ", ".join(f"{part} {sizes[part]:,}" for part in sorted(sizes))
    whole = sum(sizes.values())
    print(f"  {name}: {whole:,} bytes, {whole / MODEL_BYTES:.2%} ({parts})")


@contextmanager
def project(files: int, file_bytes: int) -> Iterator[Path]:
    """Make a project of Python source in a git repository, with a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pieces = cycle(source(file_bytes))
        for number, piece in enumerate(islice(pieces, files - 1)):
            path = root / f"part_{number % 20}" / f"module_{number}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(piece)
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        prepare(root)
        own = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for words in (["add", "-A"], ["commit", "--quiet", "-m", "bench"]):
            subprocess.run(["git", *own, *words], cwd=root, check=True)
        yield root


def prepare(root: Path) -> None:
    shutil.copy(ROOT / "bench" / "training.py", root / "train.py")
    (root / ".gitignore").write_text(
        "/mlruns/\n/mlflow.db*\n/.runback/\n/model.bin\n__pycache__/\n"
    )
    create(root / "mlflow.db", lambda message: None)


def source(size_bytes: int) -> Iterator[bytes]:
    """Yield pieces of Python's own library: what code looks like to a compressor."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/*.py")):
        content = path.read_bytes()
        for begin in range(0, len(content) - size_bytes, size_bytes):
            yield content[begin : begin + size_bytes]


def environ(root: Path, record: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RUNBACK_RECORD": record,
        "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": f"{root}/mlruns",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def child(root: Path, record: str, *words: str) -> dict[str, Any]:
    """Run the training; return what it says of itself, and how long its end took."""
    done = subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=root,
        env=environ(root, record),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    ended_s = time.time()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "end_s": ended_s - found.get("ending_s", ended_s)}


if __name__ == "__main__":
    main()
