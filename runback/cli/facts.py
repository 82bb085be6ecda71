"""Word what a run's manifest says: command, code, environment, machine, data.

A manifest may come from elsewhere: what has not the expected shape is left out.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from runback.cli import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Packages that say most about a training.
SHOWN = ("tensorflow", "keras", "torch", "pytorch-lightning", "jax", "scikit-learn", "numpy")
# Listed file by file, and long; `runback diff` and `verify` compare them.
_LONG = {"files", "artifacts", "models", "code.files", "environment.packages"}
_OURS = ("mlflow.", "runback.")
_NOTE = "mlflow.note.content"


def of_manifest(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what is worth a line."""
    found = [
        ("command", _command(manifest)),
        ("code", _code(manifest)),
        ("environment", _environment(manifest)),
        ("machine", _machine(manifest)),
        *(("data", text) for text in _data(manifest)),
    ]
    return [(name, text) for name, text in found if text]


def missing(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the record lacks, in its own words."""
    return [what for what in manifest.get("missing", ()) if isinstance(what, str)]


def own_tags(tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the note and the tags that people gave."""
    note = [("note", tags[_NOTE])] if tags.get(_NOTE) else []
    return note + sorted((k, v) for k, v in tags.items() if not k.startswith(_OURS))


def without_digests(manifest: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the manifest without its long lists; of these, how many entries there are."""
    found: dict[str, Any] = {}
    for name, value in manifest.items():
        path = f"{prefix}{name}"
        if path in _LONG and isinstance(value, dict):
            found[name] = len(value)
        elif isinstance(value, dict) and not prefix:
            found[name] = without_digests(value, f"{path}.")
        else:
            found[name] = value
    return found


def _get(manifest: Mapping[str, Any], *names: str) -> Any:
    found: Any = manifest
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _text(manifest: Mapping[str, Any], *names: str) -> str:
    found = _get(manifest, *names)
    return found if isinstance(found, str) else ""


def _command(manifest: Mapping[str, Any]) -> str:
    argv = _get(manifest, "command", "argv")
    if not isinstance(argv, list):
        return ""
    folder = _text(manifest, "command", "working_directory")
    place = f"   (in {folder})" if folder not in ("", ".") else ""
    return shlex.join(str(word) for word in argv) + place


def _code(manifest: Mapping[str, Any]) -> str:
    files = _get(manifest, "code", "files")
    if not isinstance(files, dict):
        return ""
    size = _get(manifest, "code", "size_bytes")
    text = words.plural(len(files), "file")
    if isinstance(size, int) and 0 <= size < 2**63:
        text += f", {words.size(size)}"
    if commit := _text(manifest, "code", "git", "commit"):
        branch = _text(manifest, "code", "git", "branch")
        text += f"; commit {commit[:8]}" + (f" on {branch}" if branch else "")
    dirty = _get(manifest, "code", "git", "dirty_files")
    if isinstance(dirty, list) and dirty:
        more = f" and {len(dirty) - 5} more" if len(dirty) > 5 else ""
        text += f"; changed since: {', '.join(map(str, dirty[:5]))}{more}"
    return text


def _environment(manifest: Mapping[str, Any]) -> str:
    python = _text(manifest, "environment", "python")
    packages = _get(manifest, "environment", "packages")
    if not python or not isinstance(packages, dict):
        return ""
    versions = {name: str(packages.get(name) or "").partition(" ")[0] for name in SHOWN}
    known = [f"{name} {version}" for name, version in versions.items() if version]
    image = _text(manifest, "environment", "image")
    parts = [f"Python {python}", words.plural(len(packages), "package"), *known]
    return ", ".join([*parts, f"image {image}"] if image else parts)


def _machine(manifest: Mapping[str, Any]) -> str:
    parts = [_text(manifest, "machine", "host"), _text(manifest, "machine", "cpu", "model")]
    cores = _get(manifest, "machine", "usable_cores")
    if isinstance(cores, int):
        parts.append(words.plural(cores, "core"))
    gpus = _get(manifest, "machine", "gpus")
    if isinstance(gpus, list):
        names = [str(gpu.get("name", "GPU")) for gpu in gpus if isinstance(gpu, dict)]
        parts.append(", ".join(names) or "no GPU")
    return ", ".join(part for part in parts if part)


def _data(manifest: Mapping[str, Any]) -> Iterator[str]:
    data = _get(manifest, "data")
    for path, known in data.items() if isinstance(data, dict) else ():
        if isinstance(known, dict):
            digest = str(known.get("digest") or known.get("missing") or "")
            count = known.get("files")
            files = f", {words.plural(count, 'file')}" if isinstance(count, int) else ""
            yield f"{path}  {digest[:19]}{files}"
