"""Read YAML with every scalar as the text that it is.

DVC's YAML is 1.2, PyYAML's is 1.1: to one of them `2024_01`, `1e3` or `on` is no text.
"""

from __future__ import annotations

from typing import Any

_MERGE = "<<"


def parsed(text: bytes) -> Any:
    """Return mappings, lists and texts; None of what is no YAML."""
    import yaml

    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if document is None else _plain(document, {})
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _plain(node: Any, known: dict[int, Any]) -> Any:
    """Return what a node says. known: of those that were seen, which an alias may name again."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    if id(node) in known:
        return known[id(node)]
    if isinstance(node, MappingNode):
        mapping = known[id(node)] = dict[str, Any]()
        merged = dict[str, Any]()
        for key, value in node.value:
            if key.value == _MERGE:
                merged |= _merged(_plain(value, known))
            elif isinstance(key, ScalarNode):
                mapping[key.value] = _plain(value, known)
        mapping |= {key: value for key, value in merged.items() if key not in mapping}
        return mapping
    if isinstance(node, SequenceNode):
        entries = known[id(node)] = list[Any]()
        entries += [_plain(part, known) for part in node.value]
        return entries
    return node.value


def _merged(value: Any) -> dict[str, Any]:
    """Return what `<<` brings: a mapping, or several, of which the first ones count."""
    parts = value if isinstance(value, list) else [value]
    mappings = [part for part in parts if isinstance(part, dict)]
    return {key: what for part in reversed(mappings) for key, what in part.items()}
