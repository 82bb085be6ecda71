"""Check where git's HEAD is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback import git
from runback.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The commit that the experiment in the workspace is made upon; DVC removes it at its end.
_BASELINE = "refs/exps/exec/EXEC_BASELINE"


def detached(root: Path) -> Iterator[Finding]:
    """Yield a HEAD that `dvc exp run` detached, and left so when it was killed (dvc#9260)."""
    if git.ask(root, "symbolic-ref", "--quiet", "HEAD") is not None:
        return
    if git.ask(root, "merge-base", "--is-ancestor", _BASELINE, "HEAD") is None:
        return  # another commit was checked out since, by hand
    before = (git.ask(root, "rev-parse", "--abbrev-ref", "@{-1}") or b"").decode().strip()
    yield Finding(
        "HEAD",
        "HEAD is detached: a dvc exp run goes on, or one was killed; commits would be on no branch",
        f"git switch {before or 'BRANCH'}   # if none goes on",
    )
