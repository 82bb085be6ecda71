"""Read the sounds as one array, resampled; what was read before is taken from a cache."""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy
from dataset import AUDIO, Incomplete, some

# scipy is in the lock and reads what ESC-50 consists of: plain WAV. torchaudio has no release
# for the locked torch, and soundfile would bring a library in C for formats that are not here.
from scipy.io import wavfile
from scipy.signal import resample_poly

from runback.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataset import Sound

SECONDS = 5  # of every clip in ESC-50
# What scipy raises for a file that is no WAV, or an odd one.
ODD = (OSError, ValueError, ZeroDivisionError, struct.error, wavfile.WavFileWarning)
# What numpy raises for a cache that is none, or damaged: zipfile compares checksums.
DAMAGED = (OSError, ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile)


def load(sounds: Sequence[Sound], folder: Path, rate: int, cache: Path) -> np.ndarray:
    """Return the sounds as (N, 5 · rate) float32 in [-1, 1], in their order.

    rate: in Hz. cache: a folder. What is kept there is used only for the very same
    files, rate, library and code. Raises Incomplete: all that cannot be read.
    """
    kept = cache / f"clips-{rate}.npz"
    key = _key(sounds, rate)
    if (known := _read_cache(kept, key)) is not None:
        return known
    say(f"reading {len(sounds):,} sounds at {rate:,} Hz, once")
    clips = _read_all(sounds, folder, rate)
    _write_cache(kept, key, clips)
    return clips


def read(path: Path, rate: int) -> np.ndarray:
    """Return a WAV file as (5 · rate,) float32 in [-1, 1], its channels mixed. Raises ODD."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that are no sound
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        own_rate, samples = wavfile.read(path)
    if len(samples) != SECONDS * own_rate:
        raise ValueError(f"{len(samples) / own_rate:.2f} s long, not {SECONDS}")
    mono = _scaled(samples).reshape(len(samples), -1).mean(axis=1)
    if not np.isfinite(mono).all():
        raise ValueError("has samples that are no numbers")
    # The filter overshoots a little where the sound is loudest.
    clip: np.ndarray = np.clip(resample_poly(mono, rate, own_rate), -1, 1)
    return clip


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Return samples of any WAV format as float32 in [-1, 1]; 24 bits come as 32."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    bits = 8 * samples.dtype.itemsize
    middle = 1 << (bits - 1)
    centred = samples.astype(np.float64) - (middle if samples.dtype.kind == "u" else 0)
    return (centred / middle).astype(np.float32)


def _read_all(sounds: Sequence[Sound], folder: Path, rate: int) -> np.ndarray:
    clips = np.empty((len(sounds), SECONDS * rate), np.float32)
    odd: dict[str, str] = {}
    for clip, sound in zip(clips, sounds, strict=True):
        try:
            clip[:] = read(sound.path, rate)
        except ODD as error:
            odd[sound.path.name] = str(error)
    if odd:
        reason = f"{some([*odd], len(sounds))} damaged in {AUDIO}/; the first: "
        raise Incomplete(folder, reason + next(iter(odd.values())))
    return clips


def _key(sounds: Sequence[Sound], rate: int) -> str:
    """Digest all that the clips hang on: this code too, so that no edit of it is missed."""
    whole = hashlib.sha256(Path(__file__).read_bytes())
    whole.update(f"{rate} Hz, scipy {scipy.__version__}, numpy {np.__version__}".encode())
    for sound in sounds:
        with sound.path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _read_cache(kept: Path, key: str) -> np.ndarray | None:
    """Return what was kept under this key, None if it is another or cannot be read."""
    try:
        with kept.open("rb") as file, np.load(file, allow_pickle=False) as found:
            if str(found["key"]) != key:
                return None
            clips: np.ndarray = found["clips"]
            return clips
    except DAMAGED:
        return None


def _write_cache(kept: Path, key: str, clips: np.ndarray) -> None:
    """Put the clips in place of what was there, at once: a kill leaves the old or the new."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_name(f".{kept.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            np.savez(file, key=np.array(key), clips=clips)
        draft.replace(kept)
    finally:
        draft.unlink(missing_ok=True)
