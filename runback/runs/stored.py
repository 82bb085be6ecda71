"""The files of a checkpoint, with the digests that tell whether they are what was kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.errors import RecordError
from runback.record import archive, checkpoint, files
from runback.remote import away
from runback.runs.code import is_digest
from runback.runs.errors import CheckpointAway, NoCheckpoint, WrongDigest
from runback.runs.folder import files_of
from runback.store import models as stored_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runback.runs.run import Run
    from runback.store.models import Model

BEST, LATEST = "best", "latest"


@dataclass(frozen=True)
class Stored:
    """A checkpoint whose files are here.

    files: digest and size by path below `folder`. top: the name of the file or
    folder that was kept; "" where the folder itself was (a model that MLflow logged).
    """

    model: Model
    folder: Path
    files: Mapping[str, dict[str, Any]]
    top: str

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading. Raises RecordError: a link, or not of the recorded size."""
        away.bring(self.folder, name)
        path, size = self.folder / name, self.files[name]["size_bytes"]
        _refuse_links(self.folder, path)
        file = os.fdopen(files.open_plain(path), "rb")
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            found = files.digest(path)["digest"]
            raise WrongDigest(path, name, self.files[name]["digest"], found)
        return file

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield a file's content. Raises RecordError as `open` does."""
        with self.open(name) as file:
            yield from iter(lambda: file.read(archive.BLOCK_BYTES), b"")


def chosen(run: Run, which: str | None) -> Model | None:
    """Return the checkpoint that is meant: "best", "latest" or a step, as digits.

    None: the best if the run has a primary metric, else the latest, if there is any.
    Raises NoCheckpoint.
    """
    models = run.models
    if which is None:
        return _best(run, models) or (models[-1] if models else None)
    if which == BEST:
        found = _best(run, models)
    else:
        wanted = [m for m in models if which == LATEST or m.step == int(which)]
        found = wanted[-1] if wanted else None
    if found is None:
        word = f'"{which}"' if which in (BEST, LATEST) else f"of step {which}"
        known = [f"step {model.step}  {model.name}" for model in models]
        raise NoCheckpoint(run.id, word, known)
    return found


def _best(run: Run, models: list[Model]) -> Model | None:
    primary = run.primary_metric
    if primary is None:
        return None
    return stored_models.best(models, primary)


def stored(model: Model, known: Mapping[str, Any]) -> Stored:
    """Return a checkpoint's files as checkpoint.json or the run's manifest names them.

    known: the manifest. Raises CheckpointAway, RecordError.
    """
    folder = files_of(model)
    about = files.folder_of(folder) / checkpoint.NAME
    away.bring(folder, f"{files.FOLDER}/{checkpoint.NAME}")
    if os.path.lexists(about):
        found = checkpoint.read(folder, model.model_id)
        if found.run_id != model.run_id:
            raise RecordError(about, f"is of another run, {found.run_id!r}")
        return Stored(model, folder, found.files, found.path)
    expected = known.get("models", {}).get(model.model_id)
    if not isinstance(expected, dict) or not expected:
        reason = "has no digests: the run goes on, or was not recorded to its end"
        raise CheckpointAway(folder, reason)
    for name, digest in expected.items():
        if not files.is_inside(name) or not _is_known(digest):
            raise RecordError(folder, f"has no digest of {name!r} in the run's manifest"[:200])
    return Stored(model, folder, expected, "")


def _is_known(value: Any) -> bool:
    size = value.get("size_bytes") if isinstance(value, dict) else None
    return type(size) is int and size >= 0 and is_digest(value.get("digest"))


def _refuse_links(folder: Path, path: Path) -> None:
    for parent in path.parents:
        if parent == folder:
            return
        if parent.is_symlink():
            raise RecordError(parent, "is a symbolic link: not followed")
