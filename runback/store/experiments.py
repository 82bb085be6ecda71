"""Say where the runs of a new experiment go, and which runs were removed for good."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runback.errors import StoreError
from runback.store.listing import DELETED
from runback.store.readable import readable
from runback.store.seen import Memory, parse_seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# File stores gave ids of 18 digits; those after one would be as long.
LARGEST = 10**9


def number_of(root: Path, name: str) -> int:
    """Return the id of the experiment of this name; of one that is not there yet, a free one.

    Free in the database and in `mlruns/`. Raises StoreError if the experiment is deleted.
    """
    with readable(root) as connection:
        known = connection.execute("SELECT experiment_id, name, lifecycle_stage FROM experiments")
        taken = {0}
        for number, known_name, stage in known:
            if known_name == name and stage == DELETED:
                raise StoreError(
                    f"the experiment {name!r} is deleted",
                    f"mlflow experiments restore --experiment-id {number}",
                )
            if known_name == name:
                return int(number)
            taken.add(int(number))
    taken |= {number for number in _numbers(root / "mlruns") if number < LARGEST}
    return max(taken) + 1


def _numbers(mlruns: Path) -> Iterator[int]:
    """Yield the ids whose folders hold runs; models alone are what a killed import left."""
    for path in mlruns.glob("*"):
        if path.name.isascii() and path.name.isdigit():
            with contextlib.suppress(NotADirectoryError):
                if any(each.name != "models" for each in path.iterdir()):
                    yield int(path.name)


def purged(root: Path) -> set[str]:
    """Return the runs that were deleted here and then removed for good: no index adopts them."""
    with readable(root) as connection:
        memory = Memory(connection, "")
        found = set()
        for run_id, seen in memory.all().items():
            fields = parse_seen(seen.fields)
            if fields and fields["lifecycle_stage"] == DELETED and memory.now(run_id) is None:
                found.add(run_id)
        return found
