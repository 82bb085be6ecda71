"""A checkpoint of a run: its step, its metrics, and its files, to be read or checked out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.errors import NoRecord, RecordError
from runback.record import manifest
from runback.runs.draft import drafted, refuse_taken
from runback.runs.errors import NoSuchFile
from runback.runs.folder import record_of
from runback.runs.stored import stored

if TYPE_CHECKING:
    from runback.record.primary import PrimaryMetric
    from runback.runs.run import Run
    from runback.runs.stored import Stored
    from runback.store.models import Model


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """Files that were kept at a step of a run; models that MLflow logged are such too."""

    run: Run
    model: Model

    @property
    def id(self) -> str:
        """Return the id of MLflow's logged model."""
        return self.model.model_id

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def step(self) -> int | None:
        """Return the step, None if nobody said."""
        return self.model.step

    @property
    def metrics(self) -> dict[str, float]:
        return self.model.metrics

    @property
    def primary_metric(self) -> PrimaryMetric | None:
        return self.run.primary_metric

    @property
    def is_best(self) -> bool:
        """Say whether it is the one with the run's best value of the primary metric."""
        return self.run.best is not None and self.run.best.model_id == self.id

    @property
    def created(self) -> datetime:
        return datetime.fromtimestamp(self.model.created_ms / 1000, tz=UTC)

    @property
    def path(self) -> Path:
        """Return where the file or folder that was kept lies in the store; it is read-only.

        Raises RecordError: its files are not here, or nobody took digests of them.
        """
        found = self._stored()
        return found.folder / found.top

    @property
    def files(self) -> dict[str, int]:
        """Return the sizes in bytes of its files, by path. Raises RecordError."""
        return {name: int(entry["size_bytes"]) for name, entry in self._stored().files.items()}

    def open(self, path: str | os.PathLike[str] = "") -> BinaryIO:
        """Open one of its files for reading, in binary.

        path: one of `files`, or within the folder that was kept; needs not be said of a
        single file. The size is checked here; `checkout` checks the digest too. Raises
        NoSuchFile, RecordError.
        """
        found = self._stored()
        wanted = os.fspath(path)
        names = (wanted, f"{found.top}/{wanted}") if wanted else (found.top, *found.files)
        if wanted or len(found.files) == 1:
            for name in names:
                if name in found.files:
                    return found.open(name)
        known = sorted(found.files)
        raise NoSuchFile(self.run.id, wanted, known[:10], "checkpoint.files names all of them")

    def checkout(self, to: str | os.PathLike[str]) -> Path:
        """Copy its files into a new folder, whole or not at all; return where they are.

        Each digest is checked on the way. to: a folder that is empty or not there yet.
        Raises FolderTaken, RecordError (WrongDigest): then nothing was written.
        """
        found, target = self._stored(), Path(to).absolute()
        refuse_taken(target, overwrite=False)
        with drafted(target, ignored=False) as draft:
            for name, entry in found.files.items():
                draft.write(name, found.blocks(name), found.folder / name, entry["digest"])
            draft.publish(overwrite=False)
        return target / found.top

    def _stored(self) -> Stored:
        return stored(self.model, self._manifest())

    def _manifest(self) -> dict[str, Any]:
        # A checkpoint of ours names its files itself.
        try:
            return manifest.read(record_of(self.run.root, self.run.listed), self.run.id)
        except (NoRecord, RecordError):
            return {}

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name!r} at step {self.step} of run {self.run.short_id}>"

    def facts(self) -> dict[str, str]:
        """Return in words what it is."""
        from runback.runs import html

        step = "" if self.step is None else str(self.step)
        own = {name: x for name, x in self.metrics.items() if not name.startswith("system/")}
        metrics = (f"{name} {html.number(value)}" for name, value in own.items())
        return {
            "step": f"{step} (best)" if self.is_best else step,
            "name": self.name,
            "metrics": ", ".join(metrics),
        }

    def _repr_html_(self) -> str:
        from runback.runs import html

        run = {"run": f"{self.run.short_id}  {self.run.name}", "created": html.time(self.created)}
        return html.pairs({**run, **self.facts()})
