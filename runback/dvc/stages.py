"""Read the stages of dvc.yaml: what they depend on, and what they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import TYPE_CHECKING, Any

from runback.dvc import texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "dvc.yaml"


@dataclass(frozen=True)
class Stages:
    """All stages of a project together, by paths relative to it.

    made: by which stage. metrics: among `made`, and of the top level. kept: what a stage
    goes on from (persist). params: files that params are read from. Paths that are
    templates (${…}) are left out.
    """

    deps: set[str] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)

    def results(self, stage: str) -> set[str]:
        """Return what a stage makes anew: DVC removes it before the stage begins.

        stage: as DVC_STAGE has it, of a matrix too: `train@0.5`.
        """
        name = stage.partition("@")[0]
        return {path for path, by in self.made.items() if by == name} - self.kept


def read(root: Path) -> Stages:
    """Return the stages of the project; none if there is no dvc.yaml that can be read."""
    try:
        return parsed((root / FILE).read_bytes())
    except OSError:
        return Stages()


def parsed(text: bytes) -> Stages:
    """Return the stages that a dvc.yaml describes; what is no stage of DVC 3 is left out."""
    content, found = texts.parsed(text), Stages()
    for name, stage in _named(_get(content, "stages")):
        found.deps.update(path for path, _ in _entries(stage, "deps"))
        found.params.update(_params(stage))
        for key in ("outs", "metrics", "plots"):
            entries = list(_entries(stage, key))
            found.made.update((path, name) for path, _ in entries)
            found.kept.update(name for name, about in entries if _is_true(about, "persist"))
            found.metrics.extend(name for name, _ in entries if key == "metrics")
    found.metrics.extend(name for name, _ in _entries(content, "metrics"))
    return found


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _is_true(content: Any, key: str) -> bool:
    return str(_get(content, key)).lower() == "true"


def _named(stages: Any) -> Iterator[tuple[str, Any]]:
    """Yield each stage with its name; of `foreach` what it does."""
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        yield str(name), _get(stage, "do") if _get(stage, "foreach") else stage


def _entries(content: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield path and settings of each entry: `- PATH` or `- PATH: {cache: false}`."""
    entries, folder = _get(content, key), str(_get(content, "wdir") or ".")
    for entry in entries if isinstance(entries, list) else ():
        about = (
            entry if isinstance(entry, dict) else {entry: None} if isinstance(entry, str) else {}
        )
        for name, settings in about.items():
            if "${" not in f"{folder}{name}":
                yield normpath(join(folder, name)), settings


def _params(stage: Any) -> Iterator[str]:
    """Yield the files that a stage's params are read from; `- train.lr` is of params.yaml."""
    entries = _get(stage, "params")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield from entry
        elif isinstance(entry, str):
            yield "params.yaml"
