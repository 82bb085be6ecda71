"""Check how DVC is set up: where experiments would be pushed to, and where HEAD is."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from runback import git
from runback.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runback.dvc.experiments import Experiment

CONFIG, LOCAL = ".dvc/config", ".dvc/config.local"
_REMOTE = re.compile(r"""'?remote "(.+)"'?""")


def relative_remotes(root: Path) -> Iterator[Finding]:
    """Yield the remotes with a relative path: `dvc exp push` takes it from another folder.

    Seen with dvc 3.67: what `dvc push` sent to ../store, `dvc exp push` sent to /store.
    """
    for file in (CONFIG, LOCAL):
        for name, url in _remotes(_text(root / file)).items():
            if _is_relative(url):
                meant = os.path.normpath(root / ".dvc" / url)
                yield Finding(
                    "remote",
                    f"{name} is the relative path {url} ({file}): dvc push sends to {meant},"
                    " dvc exp push elsewhere",
                    f"dvc remote add --local --force {quote(name)} {quote(meant)}",
                )


def late_remotes(root: Path, experiments: Sequence[Experiment]) -> Iterator[Finding]:
    """Yield the experiments that know no remote: a push of them uploads nothing, and exits 0.

    They read .dvc/config from their own commit; config.local serves them all.
    """
    if not experiments:
        return
    local, now = _remotes(_text(root / LOCAL)), _remotes(_text(root / CONFIG))
    if local:
        return
    then = git.contents(root, [f"{e.rev}:./{CONFIG}" for e in experiments])
    late = [e.name for e in experiments if not _remotes(_of(then, e))]
    name, url = next(iter(now.items()), ("storage", "/PATH/TO/STORAGE"))
    if late and (now or _has_git_remote(root)):
        since = "the remote was added after them" if now else "no remote is set"
        yield Finding(
            "remote",
            f"{_listed(late)}: dvc exp push would upload no data, and exit with 0 ({since})",
            f"dvc remote add --local --default --force {quote(name)} {quote(_absolute(root, url))}",
        )


def detached_head(root: Path) -> Iterator[Finding]:
    """Yield a HEAD that `dvc exp run` detached, and left so when it was killed (dvc#9260)."""
    if git.ask(root, "symbolic-ref", "--quiet", "HEAD") is not None:
        return
    left = git.ask(root, "for-each-ref", "--format=%(refname)", "refs/exps/exec/") or b""
    if b"EXEC_" not in left:
        return
    words = ("for-each-ref", "--points-at=HEAD", "--format=%(refname:short)", "refs/heads/")
    branches = (git.ask(root, *words) or b"").decode().split()
    yield Finding(
        "HEAD",
        "HEAD is detached: a dvc exp run goes on, or one was killed; commits would be on no branch",
        f"git switch {branches[0] if branches else 'BRANCH'}   # if none goes on",
    )


def _of(found: dict[str, bytes], experiment: Experiment) -> str:
    return found.get(f"{experiment.rev}:./{CONFIG}", b"").decode(errors="replace")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _remotes(text: str) -> dict[str, str]:
    """Return the address of each remote by its name."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found = ((_REMOTE.fullmatch(section), section) for section in parser.sections())
    return {match[1]: parser.get(section, "url", fallback="") for match, section in found if match}


def _is_relative(url: str) -> bool:
    return bool(url) and "://" not in url and not Path(url).is_absolute() and url[0] != "~"


def _absolute(root: Path, url: str) -> str:
    return os.path.normpath(root / ".dvc" / url) if _is_relative(url) else url


def _has_git_remote(root: Path) -> bool:
    return bool(git.ask(root, "remote"))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"experiment{'s' if len(names) > 1 else ''} {shown}"
