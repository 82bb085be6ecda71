"""Find DVC's experiments: commits under refs/exps, each made upon a baseline."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback import git
from runback.dvc import project, stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# refs/exps/<2 hex>/<38 hex>/NAME: the baseline's commit, the name (dvc.repo.experiments.refs).
_REF = re.compile(r"([0-9a-f]{40}) refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")
_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Experiment:
    """An experiment that DVC keeps. rev: its commit. run_id: "" where its metrics name none."""

    name: str
    rev: str
    baseline_rev: str
    run_id: str


def experiments(root: Path, named: str | None = None) -> list[Experiment]:
    """Return the experiments of the DVC project that `root` is in, oldest first.

    Of all projects in it, if it is in none; none where DVC or git is not used. named: only
    those of this name, or whose commit begins so (4 characters at least). A repository of
    several projects has them all in one place: those that changed other folders only are
    left out.
    """
    if not _may_have(root):
        return []
    root = project.home(root) or root
    words = ("--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps/")
    output = git.ask(root, "for-each-ref", *words) or b""
    found = [_REF.fullmatch(line) for line in output.decode(errors="replace").split("\n")]
    refs = [match.groups() for match in found if match]
    if named is not None:
        refs = [(rev, a, b, name) for rev, a, b, name in refs if _is_named(name, rev, named)]
    if not refs:
        return []
    inside = os.fsdecode(git.ask(root, "rev-parse", "--show-prefix") or b"").strip()
    changed = _changed(root, [rev for rev, *_ in refs])
    foreign = {r for r, names in changed.items() if not any(n.startswith(inside) for n in names)}
    runs = _runs(root, [rev for rev, *_ in refs], changed)
    return [
        Experiment(name, rev, a + b, runs.get(rev, ""))
        for rev, a, b, name in refs
        if rev not in foreign
    ]


def _may_have(root: Path) -> bool:
    """Say whether git is worth asking for experiments: it takes longer than to find a run."""
    top = git.top_level(root.resolve())
    if top is None:
        return False
    home = top / ".git"
    if not (home / "refs" / "heads").is_dir():
        return True  # a worktree, or refs that are not kept in files
    if any((home / "refs" / "exps").glob("??/*/*")):
        return True
    try:
        return b" refs/exps/" in (home / "packed-refs").read_bytes()
    except OSError:
        return False  # nor could git read it


def upon_head(root: Path, found: list[Experiment]) -> list[Experiment]:
    """Return of several experiments those made upon the current commit, as DVC does, or all."""
    if len(found) < 2:
        return found
    head = (git.ask(root, "rev-parse", "HEAD") or b"").decode().strip()
    return [e for e in found if e.baseline_rev == head] or found


def _is_named(name: str, rev: str, text: str) -> bool:
    return text == name or (len(text) >= 4 and rev.startswith(text.lower()))


def _changed(root: Path, revs: Sequence[str]) -> dict[str, set[str]]:
    """Return the files that each commit changed, by paths in the repository; no empty sets."""
    words = ("diff-tree", "--stdin", "-r", "-z", "--name-only", "--no-relative")
    output = git.ask(root, *words, stdin="".join(f"{rev}\n" for rev in revs).encode()) or b""
    found, known = dict[str, set[str]](), set(revs)
    for name in filter(None, os.fsdecode(output).split("\0")):
        if name in known:
            rev = name
        else:
            found.setdefault(rev, set()).add(name)
    return found


def _runs(root: Path, revs: Sequence[str], changed: Mapping[str, set[str]]) -> dict[str, str]:
    """Return the run that the metrics of each commit name, for those that do.

    Of several pipelines, whose metrics it changed: the others' are of other runs.
    """
    asked = [
        f"{rev}:{path}"
        for rev, described in stages.of_commits(root, revs).items()
        for path in described.metrics
        if len(described.files) == 1 or path in changed.get(rev, ())
    ]
    found = dict[str, str]()
    for name, text in git.contents(root, asked).items():
        if run_id := _run_id(text):
            found.setdefault(name[:40], run_id)
    return found


def _run_id(text: bytes) -> str:
    """Return the first run id among metrics: any entry whose key ends in run_id."""
    try:
        return next(_ids(json.loads(text)), "")
    except (ValueError, RecursionError):
        return ""


def _ids(content: Any) -> Iterator[str]:
    for key, value in content.items() if isinstance(content, dict) else ():
        if key.endswith("run_id") and isinstance(value, str) and _RUN_ID.fullmatch(value):
            yield value
        yield from _ids(value)
