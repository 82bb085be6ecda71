"""Read DVC's settings: of the machine, of its user, of a project, and of one copy of it."""

from __future__ import annotations

import configparser
import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT, COPY = ".dvc/config", ".dvc/config.local"
_REMOTE = re.compile(r"""['"]?remote "(.+)"['"]?""")
_MAC = "Library/Application Support"


@dataclass(frozen=True)
class Settings:
    """What DVC is told of remotes. default: the one that is used unless another is named.

    remotes: options by name. Paths are as they are written.
    """

    default: str = ""
    remotes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return the address of the default remote, "" if there is none."""
        return self.remotes.get(self.default, {}).get("url", "")

    def under(self, other: Settings) -> Settings:
        """Return these settings where the other ones do not say otherwise."""
        names = {**self.remotes, **other.remotes}
        remotes = {
            name: {**self.remotes.get(name, {}), **other.remotes.get(name, {})} for name in names
        }
        return Settings(other.default or self.default, remotes)


def parsed(text: str) -> Settings:
    """Return the settings in the text of a config; none if it is damaged, as DVC says itself."""
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, inline_comment_prefixes=("#",)
    )
    try:
        parser.read_string(text)
    except configparser.Error:
        return Settings()
    found = ((_REMOTE.fullmatch(section), section) for section in parser.sections())
    remotes = {
        match[1]: {name: _plain(value) for name, value in parser.items(section)}
        for match, section in found
        if match
    }
    return Settings(_plain(parser.get("core", "remote", fallback="")), remotes)


def of_project(root: Path) -> Settings:
    return parsed(_text(root / PROJECT))


def of_user() -> Settings:
    """Return what holds in all projects: the machine's settings, and its user's above them."""
    machine, user = (parsed(_text(folder / "config")) for folder in _folders(os.environ))
    return machine.under(user)


def of_copy(root: Path) -> Settings:
    """Return what holds in this copy of the project alone, whichever commit is looked at."""
    return parsed(_text(root / COPY))


def _folders(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return where DVC looks for the machine's and the user's config (dvc.dirs, platformdirs)."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() may raise
    if platform.system() == "Darwin":
        machine, user = Path("/", _MAC, "dvc"), home / _MAC / "dvc"
    else:
        shared = environ.get("XDG_CONFIG_DIRS", "").split(":")[0]
        machine = Path(shared or "/etc/xdg", "dvc")
        user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "dvc")
    return (
        Path(environ.get("DVC_SYSTEM_CONFIG_DIR") or machine),
        Path(environ.get("DVC_GLOBAL_CONFIG_DIR") or user),
    )


def _plain(value: str) -> str:
    """Return a value without the quotes that DVC puts around a comma."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
