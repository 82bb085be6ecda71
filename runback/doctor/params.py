"""Check the files of params for numbers that YAML's two versions read otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runback.doctor.finding import Finding
from runback.dvc import stages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# YAML 1.2 (DVC) has no need of the point, 1.1 (PyYAML) has: 1e-3 is a text to it.
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_TEXT = "tag:yaml.org,2002:str"


def texts(root: Path) -> Iterator[Finding]:
    """Yield the values that are a number to DVC, and a text to a script that uses PyYAML."""
    for name in sorted({"params.yaml", *stages.read(root).params}):
        for key, value in _texts(root / name) if name.endswith((".yaml", ".yml")) else ():
            if _NUMBER.fullmatch(value):
                yield Finding(
                    "params",
                    f"{name}: {key} is the number {float(value)!r} to DVC, and the text"
                    f" {value!r} to a script that reads it with PyYAML",
                    f"write {_worded(float(value))} in its place",
                )


def _texts(path: Path) -> list[tuple[str, str]]:
    """Return key and value of each text that has no quotes; none of what cannot be read."""
    import yaml

    try:
        document = yaml.compose(path.read_bytes(), Loader=yaml.SafeLoader)
        return list(_plain(document, "", set()))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []


def _plain(node: Any, key: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Yield key and value of the plain texts below a node; an anchor's once."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode) and node.tag == _TEXT and node.style is None:
        yield key, node.value
    elif isinstance(node, SequenceNode):
        for number, part in enumerate(node.value):
            yield from _plain(part, f"{key}.{number}".lstrip("."), seen)
    elif isinstance(node, MappingNode):
        for name, part in node.value:
            word = name.value if isinstance(name, ScalarNode) else "?"
            yield from _plain(part, f"{key}.{word}".lstrip("."), seen)


def _worded(value: float) -> str:
    """Return a number as both versions of YAML read it."""
    text = repr(value)
    return text if "e" not in text or "." in text else text.replace("e", ".0e")
