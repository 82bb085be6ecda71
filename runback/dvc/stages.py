"""Read the stages of dvc.yaml: what they depend on, and what they make."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any

from runback import git
from runback.dvc import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILE = "dvc.yaml"


@dataclass(frozen=True)
class Stages:
    """Stages of one dvc.yaml, or of several, by paths relative to the same folder.

    files: those dvc.yaml. made: by which stage. metrics: among `made`, and of the top level.
    kept: what a stage goes on from (persist). params: files that params are read from.
    Paths that are templates (${…}) are left out.
    """

    files: list[str] = field(default_factory=list)
    deps: set[str] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)

    def results(self, stage: str) -> set[str]:
        """Return what a stage makes anew: DVC removes it before the stage begins.

        stage: as DVC_STAGE has it, of a matrix too: `train@0.5`, `sub/dvc.yaml:train`.
        """
        name = _split(stage)[1].partition("@")[0]
        return {path for path, by in self.made.items() if by == name} - self.kept


def of_process(project: Path) -> Stages:
    """Return the stages that this process belongs to, by paths relative to the project.

    Of the dvc.yaml that DVC runs it by, or else of the nearest one: in its working
    directory or above, within the project.
    """
    folder = _split(os.environ.get("DVC_STAGE", ""))[0]
    for place in _above(project):
        path = Path(os.path.normpath(place / folder / FILE))
        try:
            return parsed(path.read_bytes(), os.path.relpath(path, project))
        except (OSError, ValueError):  # no name that a file can have
            continue
    return Stages()


def _above(project: Path) -> Iterator[Path]:
    """Yield the working directory and what is above it in the project; of another, the project."""
    try:
        here = Path.cwd()
    except OSError:  # removed
        here = project
    found = [place for place in (here, *here.parents) if place.is_relative_to(project)]
    yield from found or [project]


def _split(stage: str) -> tuple[str, str]:
    """Return the folder of a stage's dvc.yaml, from where DVC was called, and the stage's name."""
    path, colon, name = stage.partition(f"{FILE}:")
    return (path, name) if colon else ("", stage)


def read(root: Path) -> Stages:
    """Return all stages of a project: of each dvc.yaml that git tracks in it, and of its own."""
    found = list[Stages]()
    for name in dict.fromkeys((FILE, *_tracked(root))):
        with contextlib.suppress(OSError):
            found.append(parsed((root / name).read_bytes(), name))
    return together(found)


def of_commits(root: Path, revs: Sequence[str]) -> dict[str, Stages]:
    """Return all stages of a project in each commit, by paths in the repository.

    Of each dvc.yaml that git tracks in the project by now.
    """
    names = _tracked(root, "--full-name")
    contents = git.contents(root, [f"{rev}:{name}" for rev in revs for name in names])
    found = {rev: list[Stages]() for rev in revs}
    for asked, text in contents.items():
        rev, _, name = asked.partition(":")
        found[rev].append(parsed(text, name))
    return {rev: together(several) for rev, several in found.items()}


def _tracked(root: Path, *options: str) -> list[str]:
    listed = git.ask(root, "ls-files", "-z", *options, f":(glob)**/{FILE}") or b""
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def together(several: Iterable[Stages]) -> Stages:
    """Return several, as one."""
    found = Stages()
    for each in several:
        found.files.extend(each.files)
        found.deps.update(each.deps)
        found.made.update(each.made)
        found.metrics.extend(each.metrics)
        found.kept.update(each.kept)
        found.params.update(each.params)
    return found


def parsed(text: bytes, file: str = FILE) -> Stages:
    """Return the stages that a dvc.yaml describes; what is no stage of DVC 3 is left out.

    file: its path, relative to the folder that the stages' paths are to be relative to.
    """
    content, found, folder = texts.parsed(text), Stages([file]), dirname(file)
    for name, stage in _named(_get(content, "stages")):
        found.deps.update(path for path, _ in _entries(stage, "deps", folder))
        found.params.update(_params(stage, folder))
        for key in ("outs", "metrics", "plots"):
            entries = list(_entries(stage, key, folder))
            found.made.update((path, name) for path, _ in entries)
            found.kept.update(name for name, about in entries if _is_true(about, "persist"))
            found.metrics.extend(name for name, _ in entries if key == "metrics")
    found.metrics.extend(name for name, _ in _entries(content, "metrics", folder))
    return found


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _is_true(content: Any, key: str) -> bool:
    return str(_get(content, key)).lower() == "true"


def _named(stages: Any) -> Iterator[tuple[str, Any]]:
    """Yield each stage with its name; of `foreach` what it does."""
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        yield str(name), _get(stage, "do") if _get(stage, "foreach") else stage


def _entries(content: Any, key: str, folder: str) -> Iterator[tuple[str, Any]]:
    """Yield path and settings of each entry: `- PATH` or `- PATH: {cache: false}`."""
    entries, folder = _get(content, key), join(folder, _wdir(content))
    for entry in entries if isinstance(entries, list) else ():
        about = (
            entry if isinstance(entry, dict) else {entry: None} if isinstance(entry, str) else {}
        )
        for name, settings in about.items():
            if "${" not in f"{folder}{name}":
                yield normpath(join(folder, name)), settings


def _wdir(content: Any) -> str:
    return str(_get(content, "wdir") or ".")


def _params(stage: Any, folder: str) -> Iterator[str]:
    """Yield the files that a stage's params are read from; `- train.lr` is of params.yaml."""
    entries = _get(stage, "params")
    for entry in entries if isinstance(entries, list) else ():
        is_key = isinstance(entry, str)
        for name in entry if isinstance(entry, dict) else ["params.yaml"] if is_key else ():
            yield normpath(join(folder, _wdir(stage), name))
