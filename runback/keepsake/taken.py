"""What an import took of an experiment, noted in the record's manifest."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError

if TYPE_CHECKING:
    from pathlib import Path

    from runback.keepsake.experiment import Checkpoint, Experiment

PART = "keepsake"


@dataclass(frozen=True)
class Taken:
    """id: the experiment's. digest: of its JSON file. checkpoints: how many it listed.

    without_files: the archives that were missing or damaged, with the reason, by the id
    of their checkpoint, or of the experiment.
    """

    id: str
    digest: str = ""
    checkpoints: int = 0
    without_files: dict[str, str] = field(default_factory=dict)

    def to_take(self, experiment: Experiment) -> list[Checkpoint]:
        """Return the checkpoints whose files are not here, and were not removed here since."""
        return [
            checkpoint
            for position, checkpoint in enumerate(experiment.checkpoints)
            if checkpoint.path
            and (position >= self.checkpoints or checkpoint.id in self.without_files)
        ]

    def lacks_code(self, experiment: Experiment) -> bool:
        is_new = not self.digest
        return bool(experiment.path) and (is_new or experiment.id in self.without_files)

    def part(self) -> dict[str, Any]:
        """Return the part of the manifest."""
        return {PART: {"format": 1, **asdict(self)}}


def digest(experiment: Experiment) -> str:
    return f"sha256:{hashlib.sha256(experiment.raw).hexdigest()}"


def read(manifest: dict[str, Any], path: Path, experiment: Experiment) -> Taken:
    """Return what was taken of an experiment before. Raises RecordError if it was another."""
    part: Any = manifest.get(PART)
    part = part if isinstance(part, dict) else {}
    found = part.get("id")
    if found != experiment.id:
        other = f"experiment {found}" if found else "a run that did not come from Keepsake"
        raise RecordError(path, f"is of {other}, whose id begins like that of {experiment.id}")
    count, lacking = part.get("checkpoints"), part.get("without_files")
    if type(count) is not int or not isinstance(lacking, dict):
        raise RecordError(path, f"does not say what was taken of experiment {experiment.id}")
    return Taken(experiment.id, str(part.get("digest")), count, lacking)
