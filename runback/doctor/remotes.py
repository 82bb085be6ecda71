"""Check where DVC's experiments would be pushed to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from runback import git
from runback.doctor import settings
from runback.doctor.finding import Finding, few

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runback.doctor.settings import Settings
    from runback.dvc.experiments import Experiment


def relative(root: Path) -> Iterator[Finding]:
    """Yield the remotes with a relative path: `dvc exp push` takes it from another folder.

    It reads .dvc/config from the experiment's commit, where the repository's top is /.
    Seen with dvc 3.67: what `dvc push` sent to ../store, `dvc exp push` sent to /store.
    What config.local says is taken instead, and rightly.
    """
    inside = (git.ask(root, "rev-parse", "--show-prefix") or b"").decode(errors="replace").strip()
    own = settings.of_copy(root).remotes
    for name, options in settings.of_project(root).remotes.items():
        url = options.get("url", "")
        if _is_relative(url) and "url" not in own.get(name, {}):
            meant = _absolute(root, url)
            taken = os.path.normpath(f"/{inside}.dvc/{url}")
            yield Finding(
                "remote",
                f"{name} is the relative path {url} ({settings.PROJECT}): dvc push sends to"
                f" {meant}, dvc exp push to {taken}",
                _modified(name, "url", meant),
            )


def late(root: Path, experiments: Sequence[Experiment]) -> Iterator[Finding]:
    """Yield the experiments that know no default remote: their push uploads nothing, and exits 0.

    They read .dvc/config from their own commit; the user's and the copy's serve them all.
    """
    user, copy = settings.of_user(), settings.of_copy(root)
    then = git.contents(root, [f"{e.rev}:./{settings.PROJECT}" for e in experiments])
    unserved = [e.name for e in experiments if not user.under(_of(then, e)).under(copy).url]
    now = user.under(settings.of_project(root)).under(copy)
    if unserved and (now.remotes or git.ask(root, "remote")):
        why = "the remote was added after them" if now.url else "no default remote is set"
        yield Finding(
            "remote",
            f"experiment{'s' if len(unserved) > 1 else ''} {few(unserved)}: dvc exp push would"
            f" upload no data, and exit with 0 ({why if now.remotes else 'no remote is set'})",
            _hint(root, now),
        )


def _of(found: dict[str, bytes], experiment: Experiment) -> Settings:
    text = found.get(f"{experiment.rev}:./{settings.PROJECT}", b"")
    return settings.parsed(text.decode(errors="replace"))


def _hint(root: Path, now: Settings) -> str:
    """Return the command that makes a remote of now this copy's own, and its default.

    Not `dvc remote add --force`, where there is one: that drops a password beside it.
    """
    if not now.remotes:
        return "dvc remote add --local --default --force storage /PATH/TO/STORAGE"
    name = now.default if now.url else next(iter(now.remotes))
    own = settings.of_user().under(settings.of_copy(root)).remotes.get(name, {})
    options = settings.of_project(root).remotes.get(name, {})
    commands = [
        _modified(name, option, _absolute(root, value) if option == "url" else value)
        for option, value in options.items()
        if option not in own
    ]
    return " && ".join([*commands, f"dvc remote default --local {quote(name)}"])


def _modified(name: str, option: str, value: str) -> str:
    return f"dvc remote modify --local {quote(name)} {quote(option)} {quote(value)}"


def _is_relative(url: str) -> bool:
    is_address = re.match(r"\w+://", url) is not None
    return bool(url) and not is_address and url[0] != "~" and not Path(url).is_absolute()


def _absolute(root: Path, url: str) -> str:
    return os.path.normpath(root / ".dvc" / url) if _is_relative(url) else url
