"""Make a small data set in the layout of ESC-50, to try the training without the real one.

python examples/esc50/stand_in.py FOLDER: four classes, sine waves and noise, 80 sounds
"""

from __future__ import annotations

import csv
import itertools
import sys
from pathlib import Path

import numpy as np
from dataset import AUDIO, COLUMNS, FOLDS, TABLE
from scipy.io import wavfile

RATE, SECONDS = 44_100, 5
# Pitch in Hz, from and to; noise has none.
CATEGORIES = {"hum": (120, 150), "tone": (550, 650), "whistle": (2200, 2600), "hiss": None}
PER_FOLD = 4  # sounds of each class


def make(folder: Path) -> None:
    """Write meta/esc50.csv and audio/*.wav: 44.1 kHz, 16 bits, mono. The same bytes each time."""
    random = np.random.default_rng(50)
    (folder / AUDIO).mkdir(parents=True, exist_ok=True)
    (folder / TABLE).parent.mkdir(exist_ok=True)
    with (folder / TABLE).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for fold, target, number in itertools.product(
            FOLDS, range(len(CATEGORIES)), range(PER_FOLD)
        ):
            category, source = list(CATEGORIES)[target], 10_000 + 100 * target + 10 * fold + number
            name = f"{fold}-{source}-A-{target}.wav"
            table.writerow([name, fold, target, category, target < 2, source, "A"])
            wavfile.write(folder / AUDIO / name, RATE, sound(CATEGORIES[category], random))


def sound(pitch: tuple[int, int] | None, random: np.random.Generator) -> np.ndarray:
    """Return five seconds as int16, each of another pitch, phase and loudness."""
    time_s = np.arange(SECONDS * RATE) / RATE
    samples = random.normal(scale=0.25 if pitch is None else 0.01, size=len(time_s))
    if pitch:
        samples += np.sin(2 * np.pi * random.uniform(*pitch) * time_s + random.uniform(0, 6))
    loudest = 2**15 - 1
    return np.clip(samples * random.uniform(0.4, 0.8) * loudest, -loudest, loudest).astype(np.int16)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/esc50/stand_in.py FOLDER")
    make(Path(sys.argv[1]))
