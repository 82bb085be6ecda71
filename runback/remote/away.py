"""Files of a mirror's runs and models that are on the server alone, until somebody asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import RecordError
from runback.record import files
from runback.record.files import is_inside
from runback.remote import cache

if TYPE_CHECKING:
    from runback.remote.artifacts import Artifacts
    from runback.remote.client import Client

# Beside a run's artifacts: what was brought to be looked at, and is brought anew each time.
FETCHED = "fetched"


def sizes(folder: Path) -> dict[str, int] | None:
    """Return what the server has in the artifact folder of a run or model, sizes by path.

    None if this is no mirror: then what is there is there. Raises ServerError.
    """
    root = _root(folder)
    if not cache.is_mirror(root):
        return None
    from runback.remote.client import speaking

    with speaking(cache.uri_of(root)) as client:
        return client.artifacts(folder.parent.name).sizes()


def bring(folder: Path, name: str, anew: bool = False) -> None:
    """Put a file into the artifact folder of a mirror's run or model; elsewhere do nothing.

    A file that the server has not is not made. anew: also if one of its size is there.
    Raises ServerError, RecordError.
    """
    root = _root(folder)
    if not cache.is_mirror(root):
        return
    if not is_inside(name):
        raise RecordError(folder, f"has no file {name!r}: it leads out"[:200])
    from runback.remote.client import speaking

    with speaking(cache.uri_of(root)) as client:
        artifacts, target = client.artifacts(folder.parent.name), folder / name
        size = artifacts.size(name)
        if size is None or (not anew and target.is_file() and target.stat().st_size == size):
            return
        _download(artifacts, name, target, root)


def read(client: Client, root: Path, run_id: str, name: str, largest: int) -> bytes | None:
    """Return a small file of a run, None if the server has it not. Raises RecordError."""
    artifacts = client.artifacts(run_id)
    size = artifacts.size(name)
    if size is None:
        return None
    if size > largest:
        raise RecordError(Path(name), f"has {size} bytes, more than the {largest} it can have")
    import tempfile

    with tempfile.TemporaryDirectory(dir=root / ".runback") as draft:
        return files.read(artifacts.download(name, Path(draft)), largest)


def _download(artifacts: Artifacts, name: str, target: Path, root: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir=root / ".runback") as draft:
        found = artifacts.download(name, Path(draft))
        files.digest(found)  # a plain file, and no link
        target.parent.mkdir(parents=True, exist_ok=True)
        found.replace(target)


def _root(folder: Path) -> Path:
    """Return the store of …/mlruns/<experiment>/<run> or …/<experiment>/models/<model>."""
    at = 4 if folder.parent.name.startswith("m-") else 3
    return folder.parents[at] if len(folder.parents) > at else folder
