"""Find the sounds of ESC-50 (K. J. Piczak, 2015), or say which files are missing."""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PAGE = "https://github.com/karolpiczak/ESC-50"
ARCHIVE = "https://github.com/karoldvl/ESC-50/archive/master.zip"
TABLE, AUDIO = "meta/esc50.csv", "audio"
COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
# Sounds of one recording are in one fold: never shuffle them.
FOLDS = (1, 2, 3, 4, 5)
NAMED_MAX = 3


@dataclass(frozen=True)
class Sound:
    """A sound. target: its class, from 0. fold: one of FOLDS."""

    path: Path
    target: int
    fold: int


class Incomplete(DatasetError):
    """The data set is not there, or not as it is published; `reason` says what is wrong."""

    def __init__(self, folder: Path, reason: str) -> None:
        place = quote(str(folder))
        super().__init__(
            f"the data set ESC-50 cannot be read from {folder}: {reason}",
            f"curl -L -o /tmp/ESC-50.zip {ARCHIVE} && unzip -qo /tmp/ESC-50.zip -d /tmp"
            f" && mkdir -p {place} && cp -r /tmp/ESC-50-master/. {place}"
            f"   # 600 MB, see {PAGE}; or --data FOLDER, where it is already",
        )


class OtherClasses(DatasetError):
    def __init__(self, table: Path, count: int, n_classes: int) -> None:
        super().__init__(
            f"{table} has {count} classes, and n_classes is {n_classes}", f"--n-classes {count}"
        )


def find(folder: Path, n_classes: int) -> list[Sound]:
    """Return the sounds that meta/esc50.csv lists, in its order; all are there, unread.

    Raises Incomplete, OtherClasses.
    """
    if not folder.is_dir():
        raise Incomplete(folder, "there is no such folder")
    sounds = list(_listed(folder))
    if gone := [sound.path.name for sound in sounds if not sound.path.is_file()]:
        raise Incomplete(folder, f"{some(gone, len(sounds))} not in {AUDIO}/")
    _check_targets(folder, {sound.target for sound in sounds}, n_classes)
    if empty := set(FOLDS) - {sound.fold for sound in sounds}:
        raise Incomplete(folder, f"{TABLE} has no sound of fold {min(empty)}")
    return sounds


def some(names: Sequence[str], total: int) -> str:
    """Say how many sounds of all these are, and name the first few."""
    shown = ", ".join(names[:NAMED_MAX]) + (", …" if len(names) > NAMED_MAX else "")
    return f"{len(names):,} of {total:,} sounds ({shown}) are"


def _listed(folder: Path) -> Iterator[Sound]:
    """Yield the rows of the table as sounds. Raises Incomplete."""
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if lacking := set(COLUMNS) - set(rows.fieldnames or ()):
                missing = ", ".join(name for name in COLUMNS if name in lacking)
                raise Incomplete(folder, f"{TABLE} lacks the columns {missing}")
            for row in rows:
                yield _sound(folder, row, rows.line_num)
    except OSError as error:
        raise Incomplete(folder, f"{TABLE}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Incomplete(folder, f"{TABLE} is no table: {error}") from None


def _sound(folder: Path, row: dict[str | None, str | None], line: int) -> Sound:
    name = row["filename"] or ""
    # The key None has what is too much, the value None is of what is missing.
    is_whole = None not in row and None not in row.values()
    with contextlib.suppress(ValueError):
        sound = Sound(folder / AUDIO / name, int(row["target"] or ""), int(row["fold"] or ""))
        if is_whole and sound.path.name == name and sound.fold in FOLDS:
            return sound
    raise Incomplete(folder, f"line {line} of {TABLE} is not a whole row: {name}")


def _check_targets(folder: Path, targets: set[int], n_classes: int) -> None:
    if targets != set(range(len(targets))):
        raise Incomplete(folder, f"the targets in {TABLE} are not 0 to {len(targets) - 1}")
    if len(targets) != n_classes:
        raise OtherClasses(folder / TABLE, len(targets), n_classes)
