"""Find the files of a run that are frozen: its record, artifacts, checkpoints, and what it used."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.errors import NoRecord, RecordError
from runback.frozen.contents import BESIDE, MLRUNS
from runback.frozen.errors import CannotFreeze
from runback.record import checkpoint, files, manifest
from runback.replay import attempt
from runback.replay.original import model_folders, part
from runback.runs.folder import record_of
from runback.store import listing
from runback.store.readable import readable
from runback.store.tags import SESSION_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runback.replay.original import Original
    from runback.store.listing import Listed

# Of a record's state, and no damage of what was recorded.
_HARMLESS = ("is not in the manifest", "has no digest in the manifest")


@dataclass(frozen=True)
class Piece:
    """A file to freeze. expected: its recorded digest and size, None if there is none."""

    name: str
    path: Path
    expected: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Gathered:
    """What is to be frozen. left_out: what is not, and why."""

    pieces: list[Piece]
    left_out: dict[str, str]

    def __add__(self, other: Gathered) -> Gathered:
        return Gathered([*self.pieces, *other.pieces], {**self.left_out, **other.left_out})


def gather(original: Original) -> Gathered:
    """Return the run's files, but for data and environment. Raises CannotFreeze: one is damaged."""
    damaged = [text for text in original.damaged if not text.endswith(_HARMLESS)]
    if damaged:
        shown = "\n  ".join(damaged[:10])
        raise CannotFreeze(
            original.id,
            f"it is not whole\n  {shown}",
            f"runback verify {original.id[:8]}   # copy its folder again from where it is whole",
        )
    return _run(original) + _models(original) + _before(original) + _beside(original)


def _run(original: Original) -> Gathered:
    known = original.manifest
    own = {f"{files.FOLDER}/{name}": about for name, about in known["files"].items()}
    return _folder(original.artifacts, {**known["artifacts"], **own}, "artifact")


def _models(original: Original) -> Gathered:
    here, found = model_folders(original.run), Gathered([], {})
    for model_id, folder in sorted(here.items()):
        expected = original.manifest["models"].get(model_id) or _kept(folder, model_id)
        found += _folder(folder, expected, f"checkpoint {model_id}:")
    gone = original.manifest["models"].keys() - here.keys()
    return found + Gathered([], {f"checkpoint {model_id}": "is not here" for model_id in gone})


def _kept(folder: Path, model_id: str) -> dict[str, Any]:
    """Return the digests of a checkpoint of a run that was not recorded to its end."""
    try:
        return checkpoint.read(folder, model_id).files
    except RecordError:
        return {}


def _folder(folder: Path, expected: Mapping[str, Any], what: str) -> Gathered:
    """Return the plain files of an artifact folder, its record's too."""
    place = f"{MLRUNS}/{'/'.join(_place(folder))}"
    found = Gathered([], {})
    for path in [*manifest.plain_files(folder), *_record_files(files.folder_of(folder))]:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            found.left_out[f"{what} {name}"] = "is no plain file"
            continue
        about = expected.get(name)
        known = about if isinstance(about, dict) and "digest" in about else None
        found.pieces.append(Piece(f"{place}/{name}", path, known))
    return found


def _place(folder: Path) -> tuple[str, ...]:
    """Return the last names of …/<experiment>/<run>/artifacts or …/models/<model>/artifacts."""
    count = 4 if folder.parent.parent.name == "models" else 3
    return folder.parts[-count:]


def _record_files(record: Path) -> list[Path]:
    if not record.is_dir():
        return []
    return sorted(path for path in record.iterdir() if not path.name.startswith("."))


def _before(original: Original) -> Gathered:
    """Return the records of the runs that the same process began before.

    A replay makes all of them; which of its runs answers to this one, their order tells.
    """
    found = Gathered([], {})
    for run in _runs_before(original):
        with contextlib.suppress(NoRecord, RecordError):
            record = record_of(original.root, run)
            place = f"{MLRUNS}/{'/'.join(_place(record.parent))}/{files.FOLDER}"
            pieces = [Piece(f"{place}/{path.name}", path) for path in _record_files(record)]
            found.pieces.extend(piece for piece in pieces if piece.path.is_file())
            continue
        found.left_out[f"run {run.run_id[:8]} {run.name}"] = (
            "began before it in the same process, and has no record here"
        )
    return found


def _runs_before(original: Original) -> list[Listed]:
    session = original.run.tags.get(SESSION_TAG)
    if not session:
        return []
    with readable(original.root) as connection:
        known = listing.newest(connection, (listing.ACTIVE, listing.DELETED))
    same = [run for run in reversed(known) if run.tags.get(SESSION_TAG) == session]
    same.sort(key=lambda run: run.started_ms or 0)
    ids = [run.run_id for run in same]
    return same[: ids.index(original.id)] if original.id in ids else []


def _beside(original: Original) -> Gathered:
    """Return what the training used of its project and the snapshot has not."""
    imported = part(part(original.manifest, "at_end"), "imported")
    found = Gathered([], {})
    for name, path in sorted(attempt.beside(original).items()):
        expected = imported.get(name)
        try:
            here = files.digest(path.resolve())
        except RecordError:
            found.left_out[f"code {name}"] = "is in no snapshot, and not here any more"
            continue
        if isinstance(expected, dict) and expected != here:
            found.left_out[f"code {name}"] = "is in no snapshot, and not what was run any more"
            continue
        found.pieces.append(Piece(f"{BESIDE}/{name}", path.resolve(), here))
    return found
