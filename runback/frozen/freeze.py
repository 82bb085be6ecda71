"""Keep in one archive or folder everything that a replay of a run needs."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.frozen import data, environment
from runback.frozen.contents import Contents
from runback.frozen.errors import NoRoom, PlaceTaken
from runback.frozen.gather import gather
from runback.frozen.sink import ArchiveSink, FolderSink
from runback.frozen.source import SUFFIX
from runback.record import files
from runback.replay.original import part, read
from runback.runs.checkout import safe_name
from runback.runs.draft import drafted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runback.frozen.environment import Environment
    from runback.frozen.sink import Sink
    from runback.replay.original import Original

    Tell = Callable[[str], None]

FOLDER = "frozen"


@dataclass(frozen=True)
class Wish:
    """What is to be frozen. to: an archive (ending in .tar) or a folder, None: in frozen/.

    image, wheels: None for what there is, the wheels where the image is not.
    """

    to: Path | None = None
    image: bool | None = None
    wheels: bool | None = None
    data: bool = True


@dataclass(frozen=True)
class Frozen:
    """A run that was frozen. path: where it lies."""

    path: Path
    contents: Contents


def freeze(root: Path, run_id: str, wish: Wish, choice: str, version: str, tell: Tell) -> Frozen:
    """Write a run, its data and its environment; whole or not at all.

    root: the store's folder. choice: of the engine, as RUNBACK_ENGINE has it. version: of
    runback. tell: is told in sentences what is going on. Raises NoSuchRun, NoRecord,
    CannotReplay, RecordDamaged, CannotFreeze, PlaceTaken, NoRoom, DownloadFailed, ImageError.
    """
    original = read(root, run_id)
    target = _target(original, wish.to)
    if os.path.lexists(target) and not _is_empty_folder(target):
        raise PlaceTaken(target)
    gathered, found = gather(original), data.find(original, wish.data)
    chosen = environment.choose(original, wish.image, wish.wheels, choice)
    with _worded(target), drafted(target, ignored=wish.to is None) as draft:
        work = draft.folder / ".data"
        if wish.data:
            found = data.fetched(original, found, work, tell)
        left_out = {
            **gathered.left_out,
            **{f"data {entry.name}": entry.why_not for entry in found if entry.why_not},
            **chosen.left_out,
        }
        with _sink(target, draft.folder) as sink:
            for piece in gathered.pieces:
                sink.add_file(piece.name, piece.path, piece.expected)
            known = data.freeze(original, found, sink)
            environment.write(original, chosen, sink, draft.folder, tell)
            contents = _contents(original, chosen, version, known, left_out, sink)
            sink.end(contents)
        shutil.rmtree(work, ignore_errors=True)
        if target.suffix == SUFFIX:
            _publish(sink.place, target)
        else:
            draft.publish(overwrite=False)
    return Frozen(target, contents)


def _target(original: Original, to: Path | None) -> Path:
    if to is not None:
        return Path(os.path.realpath(to)) if to.is_dir() else to.absolute()
    name = f"{safe_name(original.run.name, 'run')}-{original.run.short_id}"
    return original.root / FOLDER / f"{name}{SUFFIX}"


def _is_empty_folder(target: Path) -> bool:
    return target.suffix != SUFFIX and target.is_dir() and not any(target.iterdir())


@contextlib.contextmanager
def _sink(target: Path, draft: Path) -> Iterator[Sink]:
    if target.suffix != SUFFIX:
        yield FolderSink(draft)
        return
    sink = ArchiveSink(draft / target.name)
    try:
        yield sink
    finally:
        sink.close()


def _contents(
    original: Original,
    chosen: Environment,
    version: str,
    known: dict[str, dict[str, Any]],
    left_out: dict[str, str],
    sink: Sink,
) -> Contents:
    return Contents(
        run_id=original.id,
        name=original.run.name,
        by=version,
        created_ms=int(time.time() * 1000),
        python=str(part(original.manifest, "environment").get("python") or ""),
        image=chosen.image,
        data=known,
        left_out=left_out,
        files=dict(sink.files),
    )


def _publish(draft: Path, target: Path) -> None:
    if os.path.lexists(target):  # somebody else was faster
        raise PlaceTaken(target)
    draft.rename(target)
    files.sync_folder(target.parent)


@contextlib.contextmanager
def _worded(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoRoom(target.parent, f"{target.name}: nothing was written") from error
