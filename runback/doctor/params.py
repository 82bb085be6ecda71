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


def texts(root: Path) -> Iterator[Finding]:
    """Yield the values that are a number to DVC, and a text to a script that uses PyYAML."""
    import yaml

    for name in sorted({"params.yaml", *stages.read(root).params}):
        if not name.endswith((".yaml", ".yml")):
            continue
        try:
            content = yaml.safe_load((root / name).read_bytes())
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue
        for key, value in _leaves(content, ""):
            if isinstance(value, str) and _NUMBER.fullmatch(value):
                yield Finding(
                    "params",
                    f"{name}: {key} is the number {float(value)!r} to DVC, and the text"
                    f" {value!r} to a script that reads it with PyYAML",
                    f"write {key.rpartition('.')[2]}: {_worded(float(value))}",
                )


def _worded(value: float) -> str:
    """Return a number as both versions of YAML read it."""
    text = repr(value)
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _leaves(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    entries = enumerate(content) if isinstance(content, list) else ()
    for key, value in content.items() if isinstance(content, dict) else entries:
        yield from _leaves(value, f"{prefix}{key}.")
    if prefix and not isinstance(content, dict | list):
        yield prefix[:-1], content
