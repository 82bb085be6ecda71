"""Press Ctrl-C again and again while Keras trains, and count those that do not end the fit.

python -m bench.interrupts [--seconds 60] [--plain]   (--plain: without runback.interrupts)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING

from runback import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

ENDS_WITHIN_S = 8.0


class Keyboard(threading.Thread):
    """Presses Ctrl-C at a random moment of each fit; again if it goes on."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.fits, self.ended = threading.Event(), threading.Event()
        self.pressed, self.places, self.dropped = 0, [""], list[str]()

    def run(self) -> None:
        chance = random.Random(0)
        while self.fits.wait():
            self.fits.clear()
            time.sleep(chance.uniform(0.05, 0.4))
            self.pressed += 1
            self.ended.clear()
            os.kill(os.getpid(), signal.SIGINT)
            while not self.ended.wait(ENDS_WITHIN_S):
                self.dropped.append(self.places[-1])
                os.kill(os.getpid(), signal.SIGINT)

    def note(self, number: int, frame: FrameType | None) -> None:
        self.places.append(traceback.format_stack(frame)[-1])
        raise KeyboardInterrupt


def fit() -> Callable[[], None]:
    """Return what trains without end, with small fits of digits' size."""
    import keras
    import numpy as np

    x, y = np.zeros((1437, 8, 8, 1), "float32"), np.zeros(1437, "int32")
    layers = [keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    check = (x[:360], y[:360])
    model.fit(x, y, verbose=0, validation_data=check)
    return lambda: model.fit(x, y, epochs=1_000_000, verbose=0, validation_data=check)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    train, keyboard = fit(), Keyboard()
    signal.signal(signal.SIGINT, keyboard.note)
    keyboard.start()
    end_s = time.monotonic() + given.seconds
    with contextlib.nullcontext() if given.plain else interrupts.heard():
        while time.monotonic() < end_s:
            keyboard.fits.set()
            with contextlib.suppress(KeyboardInterrupt):
                train()
            keyboard.ended.set()
    print(f"{len(keyboard.dropped)} of {keyboard.pressed} Ctrl-C did not end the fit")
    for place in keyboard.dropped:
        print(place.strip())


if __name__ == "__main__":
    main()
