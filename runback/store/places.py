"""Where the files of each run, model and trace lie in this store.

A place is a real folder of this `mlruns/`, reached through no symbolic link, named
by an id: nothing that a record or a database says can lead out of it.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from runback.record import files
from runback.record.state import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
TRACE_ID = re.compile(r"tr-[0-9a-f]{32}")
# …/<experiment>/<run>/artifacts/…, …/<experiment>/models/<model>/artifacts/…
_SHAPE = re.compile(
    r"(?P<experiment>[^/]+)/"
    r"(?:(?:models|traces)/(?P<part>m-[0-9a-f]{32}|tr-[0-9a-f]{32})|(?P<run>[0-9a-f]{32}))"
    r"/artifacts(?P<rest>/.*)?\Z",
    re.DOTALL,
)


@dataclass(frozen=True)
class Places:
    """mlruns: absolute, links resolved. artifacts: by run, model and trace id.

    stamps: of each run with a record, what changes when a file of it is replaced.
    wrong: what lies in mlruns/ and cannot be used, with the reason.
    """

    mlruns: Path
    artifacts: dict[str, Path] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def record(self, run_id: str) -> Path:
        return files.folder_of(self.artifacts[run_id])

    def note_record(self, run_id: str) -> None:
        """Look at the run's record (again)."""
        with contextlib.suppress(FileNotFoundError):
            self.stamps[run_id] = _stamp(self.record(run_id))

    def default(self, experiment_id: int | str, item: str) -> Path:
        """Return where MLflow would put the artifacts of a run, model or trace."""
        kind = {"m": "models", "t": "traces"}.get(item[:1], "") if "-" in item else ""
        return self.mlruns / str(experiment_id) / kind / item / "artifacts"

    def of(self, uri: str | None) -> str | None:
        """Return where that which lay at `uri` is here; None if it names nothing of ours."""
        found = _SHAPE.search(local_path(uri) or "")
        if found is None:
            return None
        name, rest = found["part"] or found["run"], found["rest"] or ""
        if ".." in rest.split("/") or name not in self.artifacts:
            return None
        return str(self.artifacts[name]) + rest

    def later(self, uri: str | None) -> str | None:
        """Return where that which lay at `uri` will be here when its files have come."""
        found = _SHAPE.search(local_path(uri) or "")
        if found is None or ".." in found[0].split("/"):
            return None
        return str(self.mlruns / found[0])


def local_path(uri: str | None) -> str | None:
    """Return the path that a location names on its own machine, None if it is no path."""
    if not uri or uri.startswith("/"):
        return uri or None
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri  # no address: a path that is nowhere
    if parts.scheme == "file":
        return unquote(parts.path)
    return None if parts.scheme else uri


def has_shape_of(path: str, item: str) -> bool:
    """Say whether a path ends as MLflow's locations of this run, model or trace do."""
    found = _SHAPE.search(path)
    return found is not None and item in (found["part"], found["run"]) and not found["rest"]


def is_seen(path: str) -> bool:
    """Say whether a path is a folder that we can see: not in another user's closed one."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def scan(mlruns: Path) -> Places:
    """Look which folders of runs, models and traces are there: two stats for each run."""
    places = Places(Path(os.path.realpath(mlruns)))
    for experiment in _folders(places, places.mlruns):
        for name, path in _items(places, experiment):
            _note(places, name, path)
    return places


def _items(places: Places, experiment: str) -> Iterator[tuple[str, str]]:
    for path in _folders(places, experiment):
        name = os.path.basename(path)  # noqa: PTH119, 10,000 Path objects take as long as the rest
        if RUN_ID.fullmatch(name):
            yield name, path
        elif name in ("models", "traces"):
            for part in _folders(places, path):
                part_name = os.path.basename(part)  # noqa: PTH119
                if MODEL_ID.fullmatch(part_name) or TRACE_ID.fullmatch(part_name):
                    yield part_name, part
        elif _has_record(path):
            places.wrong[path] = "is not the name of a run"


def _folders(places: Places, parent: str | Path) -> Iterator[str]:
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.path
                elif entry.is_symlink():
                    places.wrong[entry.path] = "is a symbolic link: not followed"
    except FileNotFoundError:
        return
    except OSError as error:
        places.wrong[str(parent)] = f"cannot be read: {error.strerror}"


def _note(places: Places, name: str, path: str) -> None:
    artifacts = f"{path}/artifacts"
    if not _is_folder(places, artifacts):
        return
    known = places.artifacts.get(name)
    if known and (name in places.stamps or not _has_record(path)):
        places.wrong[path] = f"is a second folder of what lies in {known}"
        return
    places.artifacts[name] = Path(artifacts)
    record = f"{artifacts}/{files.FOLDER}"
    if RUN_ID.fullmatch(name) and _is_folder(places, record):
        places.stamps[name] = _stamp(record)


def _stamp(record: str | Path) -> str:
    """Return what changes when a file of the record is replaced; it begins with ns since 1970.

    rsync gives a folder the time that it has elsewhere, after it put files into it: by
    that alone, nothing happened. The time of its last change of any kind cannot be set.
    """
    found = os.lstat(record)
    return f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _is_folder(places: Places, path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    if mode & 0o170000 == 0o120000:
        places.wrong[path] = "is a symbolic link: not followed"
    return mode & 0o170000 == 0o040000


def _has_record(path: str) -> bool:
    return Path(path, "artifacts", files.FOLDER, files.MANIFEST).exists()
