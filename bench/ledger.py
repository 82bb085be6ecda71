"""What the ledger costs a training: python -m bench.ledger [--pairs 5] [--epoch 10] [torch] [keras]

A network of 10 million parameters learns by Adam, epochs of some 10 s, with RUNBACK_LEDGER=off,
epoch and step in turn in one process: each against off, medians of the pairs. Apart from
that, the time that one line takes, which the noise of the machine does not hide.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.side_by_side import Pair

WIDTH, BATCH = 2048, 128
LEVELS = ("off", "epoch", "step")
LINES = 9
# Of so many steps: returns its seconds, with its line.
Epoch = Callable[[int], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="torch|keras")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epoch", type=float, default=10.0, help="seconds of an epoch")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.pairs, arguments.epoch)))
        return
    for name in arguments.what or TRAININGS:
        words = ["--child", name, "--pairs", str(arguments.pairs), "--epoch", str(arguments.epoch)]
        command = [sys.executable, "-m", "bench.ledger", *words]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        show(name, json.loads(out.splitlines()[-1]))


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name}, {found['parameters']:,} parameters, {found['steps']} steps an epoch:")
    for level in LEVELS[1:]:
        pair = Pair(found["taken_s"][level], found["taken_s"]["off"])
        print(f"  {level}, an epoch against off: {pair}, median x{pair.ratio:.4f}")
    epoch_s = statistics.median(found["taken_s"]["off"])
    for what in ("wall", "processor"):
        line_s = found["line_s"][what]
        share = f"{line_s / epoch_s:.2%} of an epoch (aim: 1%)"
        print(f"  one line, {what} time: {line_s * 1000:.1f} ms (n={LINES}), {share}")


def measure(name: str, pairs: int, epoch_s: float) -> dict[str, Any]:
    """Return seconds of each epoch by level, taken in turn after a short one of each."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    training = TRAININGS[name]()
    for level in LEVELS:
        training.epochs[level](3)
    steps = max(1, round(epoch_s * 20 / training.epochs["off"](20)))
    taken: dict[str, list[float]] = {level: [] for level in LEVELS}
    for count in range(pairs):
        for level in LEVELS if count % 2 else reversed(LEVELS):
            taken[level].append(training.epochs[level](steps))
    about = {"steps": steps, "parameters": training.parameters, "line_s": training.line_s()}
    return {**about, "taken_s": taken}


def seconds(line: Callable[[], None]) -> dict[str, float]:
    """Return the median times of what notes one line; it has one thread."""
    wall, processor = [], []
    for _ in range(LINES):
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        line()
        wall.append(time.perf_counter() - began_s)
        processor.append(time.thread_time() - began_cpu_s)
    return {"wall": statistics.median(wall), "processor": statistics.median(processor)}


class Torch:
    """Plain loops, one for each level, that go on as long as the measurement does."""

    def __init__(self) -> None:
        self.epochs: dict[str, Epoch] = {level: self._epoch(level) for level in LEVELS}

    def _epoch(self, level: str) -> Epoch:
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        import runback

        torch.manual_seed(0)
        hidden = [part for _ in range(2) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        model = nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU(), *hidden, nn.Linear(WIDTH, 10))
        optimizer = torch.optim.Adam(model.parameters())
        x, y = torch.randn(BATCH, 784), torch.randint(10, (BATCH,))
        os.environ["RUNBACK_LEDGER"] = level
        numbers = runback.epochs(10**9, model, optimizer)
        next(numbers)
        self.model, self.parameters = model, sum(each.numel() for each in model.parameters())

        def epoch(steps: int) -> float:
            began_s = time.perf_counter()
            for _ in range(steps):
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
            next(numbers)
            return time.perf_counter() - began_s

        return epoch

    def line_s(self) -> dict[str, float]:
        from runback.ledger.fit import Fit
        from runback.ledger.modules import look

        fit = Fit(lambda: look([self.model]))
        return seconds(lambda: fit.epoch(0, 0))


class Keras:
    """Fits on TensorFlow of one epoch each, without their beginnings."""

    def __init__(self) -> None:
        import keras

        keras.utils.set_random_seed(0)
        dense = [keras.layers.Dense(WIDTH, "relu") for _ in range(3)]
        self.model = keras.Sequential([keras.Input((784,)), *dense, keras.layers.Dense(10)])
        self.model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        self.parameters = self.model.count_params()
        self.epochs: dict[str, Epoch] = {level: self._epoch(level) for level in LEVELS}

    def _epoch(self, level: str) -> Epoch:
        import keras
        import numpy as np
        import tensorflow as tf

        import runback.keras

        chance, clock = np.random.default_rng(0), [0.0, 0.0]
        x, y = chance.normal(size=(BATCH, 784)).astype("float32"), chance.integers(10, size=BATCH)
        data = tf.data.Dataset.from_tensors((x, y)).repeat()

        def begin(epoch: int, logs: object = None) -> None:
            clock[0] = time.perf_counter()

        def end(epoch: int, logs: object = None) -> None:
            clock[1] = time.perf_counter()

        def epoch(steps: int) -> float:
            os.environ["RUNBACK_LEDGER"] = level
            watch = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)
            callbacks = [runback.keras.LedgerCallback(), watch]
            self.model.fit(data, steps_per_epoch=steps, verbose=0, callbacks=callbacks)
            return clock[1] - clock[0]

        return epoch

    def line_s(self) -> dict[str, float]:
        from runback.ledger.fit import Fit
        from runback.ledger.keras_fit import look

        fit = Fit(lambda: look(self.model))
        return seconds(lambda: fit.epoch(0, 0))


TRAININGS: dict[str, Callable[[], Any]] = {"torch": Torch, "keras": Keras}


if __name__ == "__main__":
    main()
