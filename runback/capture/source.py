"""What a recorder asks of a tracking store, and what it gets to see of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runback.store.places import local_path

if TYPE_CHECKING:
    from runback.record.metrics import Point
    from runback.record.state import Rows


@dataclass(frozen=True)
class Glimpse:
    """A run as the store has it now. points: those after the last glimpse. last: where they end."""

    rows: Rows
    points: list[Point]
    last: int

    @property
    def is_running(self) -> bool:
        return bool(self.rows["runs"][0]["status"] in ("RUNNING", "SCHEDULED"))

    @property
    def artifacts(self) -> Path | None:
        """Return the run's artifact folder, None if it is no folder of this machine."""
        path = local_path(self.rows["runs"][0]["artifact_uri"])
        return Path(path).absolute() if path else None


class Source(Protocol):
    """A tracking store. root: the folder of a local one, else None. beat_s: how often to look."""

    @property
    def root(self) -> Path | None: ...

    uri: str
    beat_s: float

    def runs(self, session: str) -> list[str]:
        """Return the runs with this session tag."""

    def read(self, run_id: str, after: int) -> Glimpse:
        """Return the run, with its points after `after`. Raises LookupError if it is gone."""

    def end(self, run_id: str, status: str) -> None:
        """Give a run that is still RUNNING its status."""
