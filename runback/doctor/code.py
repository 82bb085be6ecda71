"""Compare the code that an experiment's commit has with what is recorded of its run."""

from __future__ import annotations

import hashlib
import re
from os.path import relpath
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from runback import git
from runback.dvc import project, stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from runback.dvc.stages import Stages

_SOURCE = ".py"


def differing(root: Path, rev: str, recorded: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the recorded files that the commit has otherwise, and the modules that it lacks.

    recorded: digests by path in the repository. Only Python's files count, and what
    a dvc.yaml names as a dependency or for its params: others may change at any time. A
    module that the commit lacks counts where the rest mentions it. Relative to `root`.
    """
    inside = (git.ask(root, "rev-parse", "--show-prefix") or b"").decode(errors="replace").strip()
    described = stages.of_commits(project.home(root) or root, [rev])[rev]
    files = {path: digest for path, digest in recorded.items() if _counts(path, described)}
    found = git.contents(root, [f"{rev}:{path}" for path in files])
    then = {name[len(rev) + 1 :]: text for name, text in found.items()}
    changed = [path for path, text in then.items() if _digest(text) != files[path]]
    texts = [text for path, text in then.items() if path.endswith(_SOURCE)]
    lacking = [
        path
        for path in files
        if path not in then and path.endswith(_SOURCE) and _is_mentioned(path, texts)
    ]
    return [relpath(p, inside or ".") for p in changed], [
        relpath(p, inside or ".") for p in lacking
    ]


def _counts(path: str, described: Stages) -> bool:
    places = {path, *map(str, PurePosixPath(path).parents)}
    if places & described.made.keys():
        return False
    named = {*described.deps, *described.params, *described.files}
    return path.endswith(_SOURCE) or bool(places & named)


def _is_mentioned(path: str, texts: Iterable[bytes]) -> bool:
    """Say whether a module's name, or its package's, is a word of one of the texts."""
    module = PurePosixPath(path)
    name = module.parent.name if module.stem == "__init__" else module.stem
    word = re.compile(rb"\b" + re.escape(name.encode(errors="replace")) + rb"\b")
    return any(word.search(text) for text in texts)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
