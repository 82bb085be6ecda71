"""Read the stages of dvc.yaml: what they depend on, and what they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from runback.dvc import texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "dvc.yaml"


@dataclass(frozen=True)
class Stages:
    """All stages of a project together, by paths relative to it.

    metrics: among `made`, and of the top level. kept: what a stage goes on from
    (persist). params: files that params are read from.
    """

    deps: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    metrics: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)

    @property
    def results(self) -> set[str]:
        """What is made for people to read: no stage begins with it."""
        return {
            path
            for path in self.made - self.kept
            if not any(path == dep or path.startswith(f"{dep}/") for dep in self.deps)
        }


def read(root: Path) -> Stages:
    """Return the stages of the project; none if there is no dvc.yaml that can be read."""
    try:
        return parsed((root / FILE).read_bytes())
    except OSError:
        return Stages()


def parsed(text: bytes) -> Stages:
    """Return the stages that a dvc.yaml describes; what is no stage of DVC 3 is left out."""
    content, found = texts.parsed(text), Stages()
    for stage in _parts(_get(content, "stages")):
        wdir = _get(stage, "wdir") or "."
        if _get(stage, "foreach") or _get(stage, "matrix") or wdir not in (".", "./"):
            continue  # their paths are templates, or another folder's
        found.deps.update(name for name, _ in _entries(stage, "deps"))
        found.params.update(_params(stage))
        for key in ("outs", "metrics", "plots"):
            entries = list(_entries(stage, key))
            found.made.update(name for name, _ in entries)
            found.kept.update(name for name, about in entries if _is_true(about, "persist"))
            found.metrics.extend(name for name, _ in entries if key == "metrics")
    found.metrics.extend(name for name, _ in _entries(content, "metrics"))
    return found


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _is_true(content: Any, key: str) -> bool:
    return str(_get(content, key)).lower() == "true"


def _parts(stages: Any) -> list[Any]:
    return list(stages.values()) if isinstance(stages, dict) else []


def _entries(content: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield path and settings of each entry: `- PATH` or `- PATH: {cache: false}`."""
    entries = _get(content, key)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, str):
            yield normpath(entry), None
        elif isinstance(entry, dict):
            yield from ((normpath(name), about) for name, about in entry.items())


def _params(stage: Any) -> Iterator[str]:
    """Yield the files that a stage's params are read from; `- train.lr` is of params.yaml."""
    entries = _get(stage, "params")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield from entry
        elif isinstance(entry, str):
            yield "params.yaml"
