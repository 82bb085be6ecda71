"""What checkpoint() costs: python -m bench.checkpoint [ROUNDS]

Against a plain copy with fsync, in turn in one process; over 3,000 checkpoints of one
run; of a file that does not change; and `import runback` against bare Python.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import runback
from bench.side_by_side import Pair, side_by_side

ROOT = Path(__file__).resolve().parents[1]
SIZE_BYTES = 50_000_000
MANY = 3_000
SOME = 300


def main() -> None:
    if "--inside" in sys.argv:
        inside(int(sys.argv[-1]))
        return
    rounds = sys.argv[1] if len(sys.argv) > 1 else "15"
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        command = [sys.executable, "-m", "bench.checkpoint", "--inside", rounds]
        environ = {name: v for name, v in os.environ.items() if "MLFLOW" not in name}
        environ |= {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
        subprocess.run(command, cwd=folder, env=environ, check=True)
    print("import runback, against bare Python:")
    one, other = ([sys.executable, "-c", code] for code in ("import runback", "pass"))
    print(" ", side_by_side(one, other, ROOT, 15))


def inside(rounds: int) -> None:
    experiment = runback.init()
    source, target = Path("model.bin"), Path("plain.bin")
    for background, name in ((False, "checkpoint() of 50 MB"), (True, "with background=True")):
        pair = Pair([], [])
        for turn in range(rounds + 1):
            sides = [partial(keep, experiment, source, background), partial(copy, source, target)]
            taken = {number: sides[number]() for number in ((0, 1) if turn % 2 else (1, 0))}
            if turn:
                pair.one_s.append(taken[0])
                pair.other_s.append(taken[1])
        print(f"{name}, against a copy with fsync:\n  {pair}")
    unchanged(experiment, source)
    many(experiment)
    experiment.stop()


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def prepare(source: Path) -> None:
    """Write new bytes, and let the disk come to rest."""
    source.write_bytes(os.urandom(SIZE_BYTES))
    os.sync()
    time.sleep(0.2)


def keep(experiment: runback.Experiment, source: Path, background: bool) -> float:
    prepare(source)
    taken = seconds(partial(experiment.checkpoint, source, background=background))
    wait_for_background(experiment)
    return taken


def copy(source: Path, target: Path) -> float:
    prepare(source)
    taken = seconds(partial(plain_copy, source, target))
    target.unlink()
    return taken


def plain_copy(source: Path, target: Path) -> None:
    with source.open("rb") as given, target.open("wb") as made:
        while block := given.read(1 << 20):
            made.write(block)
        made.flush()
        os.fsync(made.fileno())


def wait_for_background(experiment: runback.Experiment) -> None:
    pending = experiment._background._pending
    for future in list(pending):
        future.result()


def unchanged(experiment: runback.Experiment, source: Path) -> None:
    source.write_bytes(os.urandom(SIZE_BYTES))
    before = disk_bytes()
    for _ in range(10):
        experiment.checkpoint(source)
    print(f"ten of an unchanged file of 50 MB: {(disk_bytes() - before) / 1e6:.1f} MB on disk")


def disk_bytes() -> int:
    words = ["du", "--summarize", "--block-size=1", "mlruns", ".runback"]
    out = subprocess.check_output(words, text=True)
    return sum(int(line.split()[0]) for line in out.splitlines())


def many(experiment: runback.Experiment) -> None:
    taken = [
        seconds(partial(experiment.checkpoint, metrics={"loss": 1 / (1 + at)}))
        for at in range(MANY)
    ]
    first, last = statistics.median(taken[:SOME]), statistics.median(taken[-SOME:])
    print(f"{MANY:,} checkpoints with metrics alone: the first {SOME} took {first * 1000:.2f} ms,")
    print(f"  the last {SOME} {last * 1000:.2f} ms each: x{last / first:.2f}")


if __name__ == "__main__":
    main()
