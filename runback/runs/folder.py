"""Where the files of a run lie, if they are here and reached through no link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import NoRecord
from runback.record import files
from runback.runs.errors import CheckpointAway
from runback.store.places import has_shape_of, local_path

if TYPE_CHECKING:
    from runback.store.listing import Listed
    from runback.store.models import Model


def artifacts_of(root: Path, run: Listed) -> Path:
    """Return the run's artifact folder. Raises NoRecord, RecordError."""
    found = _folder(run.artifact_uri, run.run_id)
    if found is None:
        raise NoRecord(run.run_id, root / "mlruns")
    return found


def record_of(root: Path, run: Listed) -> Path:
    """Return the folder of the run's record. Raises NoRecord, RecordError."""
    record = files.folder_of(artifacts_of(root, run))
    if not record.is_dir():
        raise NoRecord(run.run_id, root / "mlruns")
    files.refuse_links(record)
    return record


def files_of(model: Model) -> Path:
    """Return the folder with a checkpoint's files. Raises CheckpointAway, RecordError."""
    found = _folder(model.location, model.model_id)
    if found is None:
        raise CheckpointAway(Path(local_path(model.location) or model.location), "is not here")
    return found


def _folder(uri: str, item: str) -> Path | None:
    path = local_path(uri)
    if not path or not has_shape_of(path, item) or not Path(path).is_dir():
        return None
    # Up to the folder of the experiment: where the store itself lies is the user's choice.
    files.refuse_links(files.folder_of(Path(path)))
    return Path(path)
