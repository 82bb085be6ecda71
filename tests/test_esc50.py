"""The example on ESC-50: its page is true, it learns, says what is missing, repeats itself."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path

import clips
import dataset
import numpy as np
import pytest
import stand_in
from conftest import REPOSITORY, bare_environ, copy_project, lend_environment
from dataset import Sound
from processes import Started
from records import query
from scipy.io import wavfile
from sessions import blocks, pattern, steady, steps

from runback.errors import DatasetError

EXAMPLE = REPOSITORY / "examples" / "esc50"
SCRIPT = "examples/esc50/train_esc50.py"
SESSION = [step for block in blocks((EXAMPLE / "README.md").read_text()) for step in steps(block)]
Place = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a copy of the project in git, with the example and an environment."""
    folder = tmp_path_factory.mktemp("esc50")
    root = copy_project(folder / "my project")
    shutil.copytree(EXAMPLE, root / "examples" / "esc50", ignore=lambda *_: {"__pycache__"})
    shutil.copy(REPOSITORY / ".gitignore", root)
    for words in ("init -q", "add -A", "-c user.name=a -c user.email=a@b.c commit -qm start"):
        subprocess.run(["git", *words.split()], cwd=root, check=True)
    lend_environment(root)
    return root, bare_environ(folder)


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:60])
def test_session_prints_what_the_page_shows(
    place: Place, command: str, expected: list[str]
) -> None:
    root, environ = place
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&1"], cwd=root, env=environ, stdout=-1, text=True, timeout=300
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("runback: ")]
    shown = steady("".join(f"{line}\n" for line in lines))
    assert re.fullmatch(pattern(expected), shown), done.stdout
    assert done.returncode == (3 if expected and expected[0].startswith("error") else 0)


def runs(root: Path) -> dict[str, str]:
    """Return the ids of the runs of the page, by what was held out; not the replay's."""
    sql = "SELECT p.run_uuid, p.value, t.value FROM params p LEFT JOIN tags t ON"
    sql += " t.run_uuid = p.run_uuid AND t.key = 'mlflow.parentRunId' WHERE p.key = 'folds'"
    sql += " AND p.run_uuid NOT IN (SELECT run_uuid FROM tags WHERE key = 'runback.replay_of')"
    rows = query(root / "mlflow.db", sql)
    return {f"{value} below" if parent else value: run_id for run_id, value, parent in rows}


def values(root: Path, table: str, run_id: str) -> dict[str, str | float]:
    sql = f"SELECT key, value FROM {table} WHERE run_uuid = ?"
    return dict(query(root / "mlflow.db", sql, run_id))


def test_five_folds_are_learned(place: Place) -> None:
    """Above 0.9 on what was held out; the parent has mean and standard deviation of its folds."""
    root, _ = place
    found = runs(root)
    below = [found[f"{fold} below"] for fold in dataset.FOLDS]
    accuracies = [float(values(root, "latest_metrics", run)["val_accuracy"]) for run in below]
    assert min(accuracies) > 0.8
    whole = values(root, "latest_metrics", found["all"])
    assert float(whole["val_accuracy_mean"]) == statistics.mean(accuracies) > 0.9
    assert whole["val_accuracy_std"] == statistics.stdev(accuracies)
    parents = {values(root, "tags", run)["mlflow.parentRunId"] for run in below}
    assert parents == {found["all"]}


def test_a_fold_is_the_same_alone_and_among_the_five(place: Place) -> None:
    root, _ = place
    found = runs(root)
    weights = [values(root, "tags", found[name])["weights"] for name in ("1", "1 below", "2 below")]
    assert weights[0] == weights[1] != weights[2]


def test_what_a_run_has(place: Place) -> None:
    root, _ = place
    run_id = runs(root)["1"]
    assert values(root, "tags", run_id)["runback.verdict"] == "identical"
    assert {"learning_rate", "sample_rate", "optimizer_name"} <= values(
        root, "params", run_id
    ).keys()
    (path,) = root.glob(f"mlruns/*/{run_id}/artifacts/runback/manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["data"]["data/ESC-50"]["files"] == 81
    assert not [name for name in manifest["code"]["files"] if name.startswith(("data/", "outputs"))]
    assert manifest["code"]["git"]["dirty"] is False
    assert (path.parent / "ledger.jsonl").exists()
    assert (root / "outputs" / "esc50" / "clips-8000.npz").exists()
    kept = "SELECT count(*) FROM logged_models WHERE source_run_id = ? AND model_type = ?"
    assert query(root / "mlflow.db", kept, run_id, "checkpoint") == [(6,)]


def test_ctrl_c_kills_the_fold_and_the_run_above_it(place: Place) -> None:
    root, environ = place
    words = ("--folds", "all", "--epochs", "5000", "--n-classes", "4", "--base-filters", "4")
    process = Started(
        [str(root / ".venv" / "bin" / "python"), SCRIPT, *words],
        cwd=root,
        env={**environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    trained = "SELECT count(*) FROM metrics JOIN runs USING (run_uuid)"
    trained += " WHERE status = 'RUNNING' AND key = 'val_loss' AND step > 1"
    try:
        while process.poll() is None and query(root / "mlflow.db", trained) == [(0,)]:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    last = "SELECT name, status FROM runs ORDER BY start_time DESC LIMIT 2"
    (fold, whole) = query(root / "mlflow.db", last)
    assert (fold, whole[1]) == (("fold-1", "KILLED"), "KILLED")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data set of ten sounds and two classes, whose sounds are 5 s at 2 kHz."""
    root = tmp_path / "ESC-50"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    rows = [dataset.COLUMNS]
    for number in range(10):
        fold, target = number % 5 + 1, number // 5
        name = f"{fold}-{number}-A-{target}.wav"
        rows.append((name, str(fold), str(target), "dog", "False", str(number), "A"))
        wavfile.write(root / "audio" / name, 2000, sine(40 * (number + 1), 2000))
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def sine(hertz: float, rate: int, seconds: float = 5.0) -> np.ndarray:
    time_s = np.arange(int(seconds * rate)) / rate
    return np.round(np.sin(2 * np.pi * hertz * time_s) * 16_000).astype(np.int16)


def edit(old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        table = folder / "meta" / "esc50.csv"
        assert old in table.read_text()
        table.write_text(table.read_text().replace(old, new))

    return spoil


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / "audio" / name, size)


def remove(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


FIRST, SECOND = "1-0-A-0.wav", "2-1-A-0.wav"
FOUR = [f"audio/{n % 5 + 1}-{n}-A-{n // 5}.wav" for n in (1, 2, 3, 7)]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (remove(""), "there is no such folder"),
        (remove("meta"), "meta/esc50.csv: No such file or directory"),
        (remove("audio"), f"10 of 10 sounds ({FIRST}, {SECOND}, 3-2-A-0.wav, …) are not in audio/"),
        (remove(*FOUR), f"4 of 10 sounds ({SECOND}, 3-2-A-0.wav, 4-3-A-0.wav, …) are not in audio"),
        (edit("target,category", "label,kind"), "esc50.csv lacks the columns target, category"),
        (edit("filename,", "\0,"), "esc50.csv lacks the columns filename"),
        (edit("False,7,A\n", "Fal"), "line 9 of meta/esc50.csv is not a whole row: 3-7-A-1.wav"),
        (edit("False,9,A\n", "Fal"), "line 11 of meta/esc50.csv is not a whole row: 5-9-A-1.wav"),
        (edit(f"{FIRST},1", f"{FIRST},6"), "line 2 of meta/esc50.csv is not a whole row"),
        (edit(FIRST, f"../{FIRST}"), "line 2 of meta/esc50.csv is not a whole row: ../1-0-A-0.wav"),
        (edit(",1,dog", ",2,dog"), "the targets in meta/esc50.csv are not 0 to 1"),
        (edit("wav,4,", "wav,3,"), "meta/esc50.csv has no sound of fold 4"),
        (cut(FIRST, 0), f"1 of 10 sounds ({FIRST}) are damaged in audio/"),
        (cut(FIRST, 30), f"1 of 10 sounds ({FIRST}) are damaged in audio/"),
        (cut(FIRST, 9_000), f"({FIRST}) are damaged in audio/; the first: Reached EOF prematurely"),
        (cut(FIRST, 9_001), f"1 of 10 sounds ({FIRST}) are damaged in audio/"),
    ],
)
def test_what_is_wrong_is_said_with_a_line_that_mends_it(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(folder)
    with pytest.raises(DatasetError) as raised:
        clips.load(dataset.find(folder, 2), folder, 1000, tmp_path / "cache")
    assert str(raised.value).startswith(f"the data set ESC-50 cannot be read from {folder}: ")
    assert reason in str(raised.value)
    assert dataset.ARCHIVE in raised.value.hint
    assert f"cp -r /tmp/ESC-50-master/. {folder}" in raised.value.hint
    assert not (tmp_path / "cache").exists()


def test_sounds_that_are_no_wav_or_too_short_are_all_named(folder: Path, tmp_path: Path) -> None:
    (folder / "audio" / FIRST).write_text("<html>404: Not Found</html>")
    wavfile.write(folder / "audio" / SECOND, 2000, sine(100, 2000, 3.5))
    silent = np.full(10_000, np.nan, np.float32)
    wavfile.write(folder / "audio" / "3-2-A-0.wav", 2000, silent)
    with pytest.raises(DatasetError, match=r"3 of 10 sounds .* damaged .* b'<htm'"):
        clips.load(dataset.find(folder, 2), folder, 1000, tmp_path)
    with pytest.raises(ValueError, match=r"3\.50 s long, not 5"):
        clips.read(folder / "audio" / SECOND, 1000)
    with pytest.raises(ValueError, match="no numbers"):
        clips.read(folder / "audio" / "3-2-A-0.wav", 1000)


def test_another_number_of_classes(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"has 2 classes, and n_classes is 50") as raised:
        dataset.find(folder, 50)
    assert raised.value.hint == "--n-classes 2"


def test_stand_in_has_the_layout_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        stand_in.make(tmp_path / name)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two")
    )
    assert one == two
    sounds = dataset.find(tmp_path / "one", 4)
    assert len(sounds) == len(one) - 1 == 80
    with wave.open(str(sounds[0].path)) as file:
        assert file.getparams()[:4] == (1, 2, 44_100, 5 * 44_100)


FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint8": lambda x: np.round(x * 127 + 128).astype(np.uint8),
    "int16": lambda x: np.round(x * 2**15).astype(np.int16),
    "int32": lambda x: np.round(x * 2**31).astype(np.int32),
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x,
    "stereo": lambda x: np.round(np.stack([1.5 * x, 0.5 * x], axis=1) * 2**15).astype(np.int16),
}


@pytest.mark.parametrize("name", [*FORMATS, "int24"])
def test_every_format_is_the_same_sound(tmp_path: Path, name: str) -> None:
    """A tone at half of full scale, resampled: the same tone, at the same loudness."""
    rate, hertz, path = 44_100, 440, tmp_path / "tone.wav"
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(5 * rate) / rate)
    if name == "int24":
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 3, rate, 0, "NONE", ""))
            whole = np.round(tone * 2**23).astype("<i4").view(np.uint8).reshape(-1, 4)
            file.writeframes(whole[:, :3].tobytes())
    else:
        wavfile.write(path, rate, FORMATS[name](tone))
    clip = clips.read(path, 8000)
    assert clip.shape == (40_000,)
    assert clip.dtype == np.float32
    wanted = 0.5 * np.sin(2 * np.pi * hertz * np.arange(40_000) / 8000)
    inside = slice(100, -100)  # at the ends, the filter sees silence
    assert np.abs(clip - wanted)[inside].max() < (0.01 if name == "uint8" else 0.001)


def test_loudest_stays_in_range(tmp_path: Path) -> None:
    square = np.where(np.sin(np.arange(220_500) / 20) > 0, 2**15 - 1, -(2**15)).astype(np.int16)
    wavfile.write(tmp_path / "square.wav", 44_100, square)
    clip = clips.read(tmp_path / "square.wav", 8000)
    assert (clip.min(), clip.max()) == (-1, 1)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap_sound(folder: Path) -> None:
    """Put another sound in a file's place: same size, same time."""
    path = folder / "audio" / FIRST
    status = path.stat()
    wavfile.write(path, 2000, sine(123, 2000))
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_cache_is_used_while_it_is_true(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And made again when it is not: damaged, cut, of other sounds, or of another rate."""
    cache = tmp_path / "cache"
    kept = cache / "clips-1000.npz"
    sounds: list[Sound] = dataset.find(folder, 2)

    def load(rate: int = 1000) -> tuple[np.ndarray, bool]:
        loaded = clips.load(sounds, folder, rate, cache)
        return loaded, "reading 10 sounds" in capsys.readouterr().err

    first, was_read = load()
    assert was_read
    assert load()[1] is False
    spoilers: tuple[Callable[[], object], ...] = (
        lambda: flip(kept),
        lambda: os.truncate(kept, kept.stat().st_size // 2),
        lambda: os.truncate(kept, 0),
        lambda: kept.write_bytes(b"\x80\x04 no pickle is loaded"),
        kept.unlink,
    )
    for spoil in spoilers:
        spoil()
        again, was_read = load()
        assert was_read
        assert np.array_equal(again, first)
        again, was_read = load()
        assert not was_read
        assert np.array_equal(again, first)
    assert load(500)[0].shape == (10, 2500)
    assert load()[1] is False
    swap_sound(folder)
    changed, was_read = load()
    assert was_read
    assert not np.array_equal(changed[0], first[0])
    assert np.array_equal(changed[1:], first[1:])
    assert sorted(path.name for path in cache.iterdir()) == ["clips-1000.npz", "clips-500.npz"]
