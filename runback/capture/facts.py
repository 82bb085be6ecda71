"""Gather under which circumstances a run begins: the parts of its manifest, and the code."""

from __future__ import annotations

import math
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback import __version__
from runback.capture import (
    command,
    consulted,
    data,
    edited,
    fingerprint,
    imported,
    machine,
    packages,
    randomness,
    snapshot,
    threads,
)
from runback.record import files

if TYPE_CHECKING:
    from runback.capture.snapshot import Snapshot

# Runs that follow one another this soon (a sweep, autolog's children) share one look.
SAME_LOOK_S = 5.0


@dataclass
class Facts:
    """captured: parts of the manifest. archive: where code.tar.gz was written for these.

    loaded, loaded_s: which files this process had loaded, and when that was looked at.
    """

    project: Path
    snapshot: Snapshot
    captured: dict[str, Any]
    taken_s: float
    archive: Path | None = None
    loaded: dict[str, Any] = field(default_factory=dict)
    loaded_s: float = float("-inf")

    def is_fresh(self) -> bool:
        return time.monotonic() - self.taken_s < SAME_LOOK_S

    def files_loaded(self) -> dict[str, Any]:
        """Return which loaded files neither the packages nor the snapshot account for."""
        if time.monotonic() - self.loaded_s > SAME_LOOK_S:
            found = imported.describe(self.project, self.snapshot.files)
            self.loaded = {"edited": edited.describe(), "imported": found}
            self.loaded_s = time.monotonic()
        return self.loaded

    def write_archive(self, path: Path) -> None:
        """Write the code; a copy, if the same code was written for the run before."""
        draft = path.with_name(f".{path.name}.draft")
        if self.archive is not None and self.archive.exists():
            shutil.copyfile(self.archive, draft)
        else:
            draft.unlink(missing_ok=True)
            with files.open_new(draft) as file:
                snapshot.write_archive(self.snapshot, file)
                os.fsync(file.fileno())
        draft.replace(path)
        files.sync_folder(path.parent)
        self.archive = path


def gather(before: Facts | None, since_ms: float = math.inf) -> Facts:
    """Look at the code and the machine now. before: an earlier look by this process.

    since_ms: when the run began. Raises OSError if the project cannot be read.
    """
    if before is not None and before.is_fresh():
        return before
    project = before.project if before else snapshot.project_root(Path.cwd(), command.main_script())
    taken = snapshot.take(project, since_ms * 1e6)
    code = snapshot.describe(taken, project)
    facts = Facts(project, taken, {}, time.monotonic())
    if before and before.captured["code"]["digest"] == code["digest"]:
        facts.archive = before.archive
    facts.captured = {
        "recorded_by": "capture",
        "runback": __version__,
        "tracking": {"mlflow": _mlflow_version()},
        "command": command.describe(project, read=consulted.names(taken.files)),
        "code": code,
        "environment": before.captured["environment"] if before else packages.describe(),
        "machine": before.captured["machine"] if before else machine.describe(),
        "randomness": {"at_start": randomness.describe()},
    }
    return facts


def _mlflow_version() -> str:
    """Return the version of the MLflow that is loaded: it is what asked us."""
    return str(getattr(sys.modules.get("mlflow.version"), "VERSION", ""))


def at_end(begun: Facts) -> dict[str, Any]:
    """Return what can only be known when the frameworks have been loaded and used."""
    return {
        "randomness": randomness.describe(),
        "libraries": machine.loaded_libraries(),
        "numerics": fingerprint.compute(),
        "threads": threads.counts(),
        "usable_cores": machine.usable_cores(),
        **begun.files_loaded(),
    }


class DataDigests:
    """Digests of the declared data, taken beside the training: a big folder takes minutes."""

    def __init__(self, project: Path, cache: Path) -> None:
        self.found: dict[str, Any] | None = None
        paths = data.declared(project, os.environ)
        if not paths:
            self.found = {}
            return
        arguments = (paths, project, cache)
        self._thread = threading.Thread(target=self._take, args=arguments, daemon=True)
        self._thread.start()

    def _take(self, paths: list[Path], project: Path, cache: Path) -> None:
        self.found = data.describe(paths, project, cache)

    def wait(self) -> dict[str, Any]:
        """Return the digests, when they are all taken."""
        if self.found is None:
            self._thread.join()
        return self.found or {}
