"""Fetch a version of a data set with `dvc pull`, into a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from runback.dvc.datasets import Noted

_LAST_LINES = 3


class NotFetched(RunbackError):
    def __init__(self, name: str, reason: str, project: Path) -> None:
        super().__init__(
            f"the data {name} cannot be fetched with DVC: {reason}",
            f"cd {project} && dvc remote list && dvc pull   # on the machine that has dvc",
        )


def fetch(project: Path, name: str, noted: Noted, folder: Path) -> Path:
    """Return where the recorded version of a project's data set now lies, within `folder`.

    The project's own cache and remotes are used, whatever its PATH.dvc says by now; its
    files are left alone. Raises NotFetched.
    """
    program = shutil.which("dvc")
    if program is None:
        raise NotFetched(name, "there is no command dvc here", project)
    settings = _asked(program, project, name, "config", "--list")
    cache = _asked(program, project, name, "cache", "dir").strip()
    target = folder / Path(name).name
    (folder / ".dvc").mkdir(parents=True)
    config = folder / ".dvc" / "config"
    config.touch(mode=0o600)  # a remote's password may be among the settings
    config.write_text(_config(settings, cache))
    target.with_name(f"{target.name}.dvc").write_text(noted.text(target.name))
    try:
        _asked(program, folder, name, "pull", "--quiet", f"{target.name}.dvc")
    finally:
        config.unlink()
    return target


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


def _asked(program: str, folder: Path, name: str, *words: str) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    try:
        done = subprocess.run(
            [program, *words], cwd=folder, env=environ, capture_output=True, text=True
        )
    except OSError as error:
        raise NotFetched(name, f"{program}: {error.strerror}", folder) from error
    if done.returncode != 0:
        said = "; ".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise NotFetched(name, said or f"dvc {words[0]} ended with {done.returncode}", folder)
    return done.stdout
