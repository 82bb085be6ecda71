"""Fetch a version of a data set with `dvc pull`, into a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from pathlib import Path

    from runback.dvc.datasets import Noted

_LAST_LINES = 3
_DATA = "data"
# Of the stage that we may be called in; what else DVC is told by variables stays.
_OF_STAGE = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")


class NotFetched(RunbackError):
    def __init__(self, name: str, reason: str, project: Path) -> None:
        super().__init__(
            f"the data {name} cannot be fetched with DVC: {reason}",
            f"cd {quote(str(project))} && dvc remote list   # has one of them the data?",
        )


@dataclass(frozen=True)
class _Dvc:
    """The command, on behalf of a data set of a project."""

    program: str
    name: str
    project: Path

    def ask(self, folder: Path, *words: str) -> str:
        """Return what it prints in the folder. Raises NotFetched."""
        environ = {key: value for key, value in os.environ.items() if key not in _OF_STAGE}
        try:
            done = subprocess.run(
                [self.program, *words], cwd=folder, env=environ, capture_output=True, text=True
            )
        except OSError as error:
            reason = f"{self.program}: {error.strerror}"
            raise NotFetched(self.name, reason, self.project) from error
        if done.returncode != 0:
            said = "; ".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
            reason = said or f"dvc {words[0]} ended with {done.returncode}"
            raise NotFetched(self.name, reason, self.project)
        return done.stdout


def fetch(project: Path, name: str, noted: Noted, folder: Path) -> Path:
    """Return where the recorded version of a project's data set now lies, within `folder`.

    The project's own cache and remotes are used, whatever its PATH.dvc says by now; its
    files are left alone. name: for people, and no part of a command: it may be a
    stranger's. Raises NotFetched.
    """
    program = shutil.which("dvc")
    if program is None:
        raise NotFetched(name, "there is no command dvc here", project)
    dvc = _Dvc(program, name, project)
    settings = dvc.ask(project, "config", "--list")
    cache = dvc.ask(project, "cache", "dir").strip()
    (folder / ".dvc").mkdir(parents=True)
    config = folder / ".dvc" / "config"
    config.touch(mode=0o600)  # a remote's password may be among the settings
    config.write_text(_config(settings, cache))
    (folder / f"{_DATA}.dvc").write_text(noted.text(_DATA))
    try:
        dvc.ask(folder, "pull")
    finally:
        config.unlink()
    return folder / _DATA


def _config(settings: str, cache: str) -> str:
    """Return a config with the project's remotes and cache, outside of its repository.

    settings: lines `section.key=value`, where DVC has made paths absolute.
    """
    lines = ["[core]", "no_scm = true", "analytics = false", "check_update = false"]
    pairs = [line.partition("=")[::2] for line in settings.splitlines()]
    lines += [f"remote = {_quoted(value)}" for key, value in pairs if key == "core.remote"]
    lines += ["[cache]", f"dir = {_quoted(cache)}"]
    lines += [f"type = {_quoted(value)}" for key, value in pairs if key == "cache.type"]
    for key, value in pairs:
        remote, _, name = key.removeprefix("remote.").rpartition(".")
        if key.startswith("remote.") and remote:
            lines += [f"['remote \"{remote}\"']", f"{name} = {_quoted(value)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """Return a value as ConfigObj reads it back: # would begin a comment, a comma a list."""
    mark = "'" if '"' in value else '"'
    return f"{mark}{value}{mark}"
