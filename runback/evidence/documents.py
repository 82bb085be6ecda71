"""Compare JSON, YAML, CSV and MLmodel by what they say, not by how it is written."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from runback.evidence import leaves, texts
from runback.evidence.case import CannotLook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runback.evidence.case import Case
    from runback.evidence.finding import Finding

# YAML is parsed in Python, at 100 kB/s.
_LARGEST_YAML_BYTES = 4_000_000
# What MLflow and Keras write beside a model that is another one each time: dates, drawn ids,
# the size of files that are compared themselves. Names tell nothing in what users write.
_MLMODEL = {
    *("model_size_bytes", "run_id", "model_id", "model_uuid", "artifact_path"),
    "utc_time_created",
}
_KERAS = {"date_saved"}


def compare(case: Case) -> Iterator[Finding]:
    """Yield what is found of two documents; as texts, where they are not what their name says."""
    aside = _MLMODEL if case.file == "MLmodel" else set[str]()
    if case.is_member("metadata.json", ".keras"):
        aside = _KERAS
    try:
        one, other = (_parser(case.file)(content) for content in case.texts())
        yield leaves.finding(case, one, other, aside)
    except (ValueError, RecursionError, leaves.TooMany, leaves.Twice):
        yield from texts.compare(case)


def _parser(name: str) -> Callable[[bytes], Any]:
    if name.endswith((".yaml", ".yml")) or name == "MLmodel":
        return _yaml
    if name.endswith((".csv", ".tsv")):
        return _tsv if name.endswith(".tsv") else _csv
    return _json_lines if name.endswith(".jsonl") else parsed


def parsed(text: str | bytes) -> Any:
    """Return what JSON says. Raises ValueError: it is none, or a dict has a key twice."""
    return json.loads(text, object_pairs_hook=_once)


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        raise ValueError("a key is there twice")
    return found


def _json_lines(content: bytes) -> Any:
    return [parsed(line) for line in content.splitlines() if line.strip()]


def _yaml(content: bytes) -> Any:
    """Return what a YAML document says. Raises ValueError: it is none, or names classes."""
    import yaml

    if len(content) > _LARGEST_YAML_BYTES:
        raise CannotLook("differs, and is too large for YAML: not looked into")

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            before = len(node.value)
            found = super().construct_mapping(node, deep=deep)
            if len(found) < max(before, len(node.value)):
                raise ValueError("a key is there twice")
            return found

    try:
        return yaml.load(content, Loader)  # as safe as SafeLoader is
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _csv(content: bytes, delimiter: str = ",") -> Any:
    """Return the cells by row and column; the first row names the columns."""
    try:
        lines = [*csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter)]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    head, *rows = lines or [[]]
    if len(set(head)) < len(head) or any(len(row) != len(head) for row in rows):
        return lines
    return {"columns": head, "rows": [dict(zip(head, row, strict=True)) for row in rows]}


def _tsv(content: bytes) -> Any:
    return _csv(content, "\t")
