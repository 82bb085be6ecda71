"""Put a run's code and a checkpoint into a folder of its own, each file as it was recorded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.errors import NoRecord, NoSuchRun, RecordError
from runback.record import manifest
from runback.record.archive import EXECUTABLE, LINK
from runback.remote.cache import is_mirror
from runback.runs.code import code_of
from runback.runs.draft import drafted, refuse_taken
from runback.runs.errors import CheckpointAway, NoSuchFile
from runback.runs.folder import record_of
from runback.runs.run import read
from runback.runs.stored import chosen, stored

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runback.runs.code import Code
    from runback.runs.draft import Draft
    from runback.runs.run import Run
    from runback.runs.stored import Stored

CODE, CHECKPOINT = "code", "checkpoint"
FOLDER = "checkouts"
LONGEST_NAME_BYTES = 100


@dataclass(frozen=True)
class Wish:
    """What is to be checked out.

    checkpoint: "best", "latest" or a step, as digits; None: what there is. only: CODE or
    CHECKPOINT. to: the folder; None: one in checkouts/. paths: only these files and
    folders of it.
    """

    checkpoint: str | None = None
    only: str | None = None
    to: Path | None = None
    paths: Sequence[str] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class Checkout:
    """What was checked out. checkpoint_at: where its file or folder lies in `folder`.

    left_out: reason by path, of files that the snapshot has not. skipped: why the
    checkpoint that nobody asked for is not there, "" if it is. replaced: files of the
    code in whose place the checkpoint's came.
    """

    run: Run
    folder: Path
    code: list[str]
    checkpoint: Stored | None
    checkpoint_at: str
    left_out: dict[str, str]
    skipped: str
    command: dict[str, Any] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """names: of the code's files. placed: the checkpoint's files, by their place in the folder."""

    code: Code | None
    names: set[str]
    stored: Stored | None
    placed: dict[str, str]
    at: str
    skipped: str
    replaced: list[str]


def checkout(root: Path, run_id: str, wish: Wish) -> Checkout:
    """Write a run's files into a new folder, whole or not at all.

    root: the store's folder. Raises NoSuchRun, NoRecord, NoCode, NoCheckpoint,
    NoSuchFile, FolderTaken, RecordError (WrongDigest): then nothing was written.
    """
    found = read(root, [run_id])
    if not found:
        raise NoSuchRun(run_id, root, 0)
    run = found[0]
    target = _target(root, run, wish.to)
    refuse_taken(target, wish.overwrite)
    known, record = _manifest(root, run, wish)
    plan = _planned(run, known, record, wish)
    with drafted(target, ignored=wish.to is None) as draft:
        if plan.code and plan.names:
            _write_code(draft, plan.code, plan.names)
        if plan.stored:
            _write_checkpoint(draft, plan.stored, plan.placed)
        draft.publish(wish.overwrite)
    return Checkout(
        *(run, target, sorted(plan.names), plan.stored, plan.at),
        *(plan.code.left_out if plan.code else {}, plan.skipped, _command(known)),
        replaced=plan.replaced,
    )


def safe_name(text: str, otherwise: str) -> str:
    """Return a text as the name of a file: no slash, no leading dot, nothing unprintable."""
    name = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text)
    name = name.encode()[:LONGEST_NAME_BYTES].decode(errors="ignore")
    return name.lstrip(". -").rstrip() or otherwise


def _target(root: Path, run: Run, to: Path | None) -> Path:
    if to is None:
        # Beside mlruns/; a server's mirror is nowhere that anybody looks.
        root = Path.cwd() if is_mirror(root) else root
        return root / FOLDER / f"{safe_name(run.name, 'run')}-{run.short_id}"
    return Path(os.path.realpath(to)) if to.is_dir() else to.absolute()


def _manifest(root: Path, run: Run, wish: Wish) -> tuple[dict[str, Any], Path | None]:
    """Return the run's manifest and record; a checkpoint alone can do without them."""
    try:
        record = record_of(root, run.listed)
        return manifest.read(record, run.id), record
    except (NoRecord, RecordError):
        if wish.only != CHECKPOINT:
            raise
        return {}, None


def _planned(run: Run, known: dict[str, Any], record: Path | None, wish: Wish) -> _Plan:
    code = code_of(record, known) if record and wish.only != CHECKPOINT else None
    names = set(code.files) if code else set()
    found, skipped = _checkpoint(run, known, wish)
    # A file of that name in the snapshot is what the run before had kept there.
    replaced = [found.top] if found and found.top in names else []
    names -= set(replaced)
    at = _place(found, names) if found else ""
    placed = {_moved(name, found.top, at): name for name in found.files} if found else {}
    for path in wish.paths:
        if not any(_is_within(name, path) for name in (*names, *placed)):
            raise NoSuchFile(run.id, path, (), f"runback checkout {run.short_id}   # all of it")
    if wish.paths:
        names = {name for name in names if _is_wanted(name, wish.paths)}
        placed = {name: source for name, source in placed.items() if _is_wanted(name, wish.paths)}
        replaced = []
    return _Plan(code, names, found if placed else None, placed, at, skipped, replaced)


def _checkpoint(run: Run, known: dict[str, Any], wish: Wish) -> tuple[Stored | None, str]:
    """Return the checkpoint's files; if nobody asked for them, or why they cannot be had."""
    if wish.only == CODE:
        return None, ""
    asked = wish.checkpoint or ("latest" if wish.only == CHECKPOINT and not run.models else None)
    model = chosen(run, asked)
    try:
        return (stored(model, known) if model else None), ""
    except CheckpointAway as error:
        if wish.checkpoint or wish.only == CHECKPOINT:
            raise
        return None, str(error)


def _place(found: Stored, taken: Collection[str]) -> str:
    """Return where the checkpoint's file or folder goes: its own name, if no code is there."""
    name = found.top or safe_name(found.model.name, "model")
    places = (name, f"checkpoint/{name}", f"checkpoint-{found.model.model_id}/{name}")
    free = (p for p in places if not any(_is_within(t, p) or _is_within(p, t) for t in taken))
    return next(free, places[-1])


def _moved(name: str, top: str, at: str) -> str:
    """Return a checkpoint's file as it lies in the checkout, where `top` is called `at`."""
    return f"{at}{name[len(top) :]}" if top else f"{at}/{name}"


def _is_wanted(name: str, paths: Sequence[str]) -> bool:
    return any(_is_within(name, path) for path in paths)


def _is_within(name: str, path: str) -> bool:
    """Say whether a file is this one, or lies in this folder."""
    path = os.path.normpath(path)
    return path == "." or name == path or name.startswith(f"{path}/")


def _write_code(draft: Draft, code: Code, names: Collection[str]) -> None:
    """Write the files that are wanted; the others are passed over, but have to be there."""
    for entry in code.entries():
        expected = code.files[entry.name]
        if entry.name not in names:
            continue
        if entry.kind == LINK:
            draft.link(entry.name, entry.link, entry.archive, expected)
        else:
            is_program = entry.kind == EXECUTABLE
            draft.write(entry.name, entry.blocks(), entry.archive, expected, is_program)


def _write_checkpoint(draft: Draft, found: Stored, placed: Mapping[str, str]) -> None:
    for name, source in placed.items():
        path, expected = found.folder / source, found.files[source]["digest"]
        draft.write(name, found.blocks(source), path, expected)


def _command(known: dict[str, Any]) -> dict[str, Any]:
    command = known.get("command")
    return command if isinstance(command, dict) else {}
