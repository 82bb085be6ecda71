"""Say whether a record is whole: every file there, every digest right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import archive, fields, files, ledger, manifest, metrics, pruned, state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# MLflow puts it into a model's folder when models:/NAME/VERSION is loaded (models_artifact_repo).
WRITTEN_BY_READERS = "registered_model_meta"


def problems(
    record: Path, run_id: str, models: Mapping[str, Path], store: str = ""
) -> Iterator[str]:
    """Yield, in words, what is missing, changed, damaged or not in the manifest.

    models: where the files of the run's logged models are. store: the one that asks; a
    checkpoint that it, or the run's own store, removed is not missing.
    """
    try:
        known = manifest.read(record, run_id)
    except RecordError as error:
        yield _worded(error)
        known = {}
    yield from _state(record, run_id)
    yield from _points(record)
    yield from _ledger(record)
    edits, damaged = fields.read_all(record)
    yield from map(_worded, damaged)
    for what in known.get("missing", ()):
        yield f"not recorded: {what}"
    if known and not manifest.is_final(known):
        yield "not final: the run goes on, or its end was not recorded; runback index completes it"
        return
    yield from _compared(known.get("files", {}), record, "")
    if manifest.NO_CODE not in known.get("missing", ()):
        yield from _code(record, known.get("code"))
    yield from _folder(known.get("artifacts", {}), record.parent, "")
    gone = pruned.models(edits, known["store"], store) if known else set()
    for model_id, expected in known.get("models", {}).items():
        if model_id not in models and model_id in gone:
            continue
        if model_id not in models:
            yield f"model {model_id}: its folder is missing"
        elif isinstance(expected, dict):
            yield from _folder(expected, models[model_id], f"model {model_id}: ")


def glance(record: Path, known: Mapping[str, Any]) -> str | None:
    """Return what sizes and run.json's digest tell to be wrong; what every index can afford."""
    for name, expected in sorted(known["files"].items()):
        try:
            size = os.lstat(record / name).st_size if name in files.PARTS else -1
        except FileNotFoundError:
            return f"{name} is missing"
        if not isinstance(expected, dict) or size != expected.get("size_bytes"):
            return f"{name} differs from its digest"
    if (
        files.RUN in known["files"]
        and files.digest(record / files.RUN) != known["files"][files.RUN]
    ):
        return f"{files.RUN} differs from its digest"
    return None


def _worded(error: RecordError) -> str:
    return f"{error.path.name}: {error.reason}"


def _state(record: Path, run_id: str) -> Iterator[str]:
    try:
        state.read(record, run_id)
    except RecordError as error:
        yield _worded(error)


def _points(record: Path) -> Iterator[str]:
    path = record / files.METRICS
    if not os.path.lexists(path):
        return  # nothing was logged; where something was, the manifest misses the file
    try:
        for _ in metrics.read(path):
            pass
    except RecordError as error:
        yield _worded(error)


def _ledger(record: Path) -> Iterator[str]:
    path = record / files.LEDGER
    if not os.path.lexists(path):
        return  # of a training that noted none
    try:
        for _ in ledger.read(path):
            pass
    except RecordError as error:
        yield _worded(error)


def _folder(expected: dict[str, Any], folder: Path, prefix: str) -> Iterator[str]:
    yield from _compared(expected, folder, prefix)
    found = {path.relative_to(folder).as_posix() for path in manifest.plain_files(folder)}
    for name in sorted(found - expected.keys() - {WRITTEN_BY_READERS}):
        yield f"{prefix}{name}: is not in the manifest"


def _compared(expected: dict[str, Any], folder: Path, prefix: str) -> Iterator[str]:
    for name, known in sorted(expected.items()):
        if not files.is_inside(name):
            yield f"{prefix}{name!r}: leads out of its folder"
            continue
        if not isinstance(known, dict) or "error" in known:
            yield f"{prefix}{name}: has no digest in the manifest"
            continue
        try:
            found = files.digest(folder / name)
        except RecordError as error:
            yield f"{prefix}{name}: {error.reason}"
            continue
        if found != known:
            yield f"{prefix}{name}: differs from its digest"


def _code(record: Path, code: Any) -> Iterator[str]:
    """Compare the files in code.tar.gz with the digests that were taken at the run's start."""
    if code is None:
        return
    expected, path = code.get("files") if isinstance(code, dict) else None, record / files.CODE
    if not isinstance(expected, dict):
        yield "manifest.json: has no digests of the code"
        return
    try:
        found = archive.digests(path, len(expected), code.get("size_bytes"))
    except RecordError as error:
        yield _worded(error)
    else:
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                yield f"{files.CODE}: {name!r} is not what was run"
