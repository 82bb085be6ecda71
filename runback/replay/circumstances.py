"""The circumstances of a run, by kind of drift and name, in words that can be compared.

A manifest may come from anywhere and hold anything: what is not of the expected shape
is not known, and no drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.capture.machine import THREAD_VARIABLES
from runback.replay import drift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    # By kind and name.
    Values = dict[tuple[str, str], str]

# What makes the environment, and Runback itself, compute nothing of a training.
_TOOLS = {"pip", "runback", "uv"}
_PLACE_PREFIXES = ("DVC_EXP_", "MLFLOW_", "RUNBACK_", "SLURM_")
_PLACES = {"COLUMNS", "DVC_ROOT", "DVC_STAGE", "NVIDIA_VISIBLE_DEVICES", "PYTHONPATH"}
_DEEPEST = 6
_LONGEST = 200
EDITED = "edited in place"


@dataclass(frozen=True)
class Part:
    """A part of a manifest that is known, or not, as a whole.

    both: only what two manifests both tell can be compared. absent: what it means that
    one has no such name, in words.
    """

    path: tuple[str, ...]
    values: Callable[[Any], Values]
    both: bool = False
    absent: str | None = None

    def of(self, manifest: Mapping[str, Any]) -> Values | None:
        """Return what a manifest tells; None if it is not there, or nonsense."""
        found: Any = manifest
        try:
            for name in self.path:
                found = found[name]
            return self.values(found)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return None


def short(digest: str) -> str:
    """Return the beginning of a digest, for people."""
    return (
        f"{digest[:19]}…" if digest.startswith(("sha256:", "md5:")) and len(digest) > 19 else digest
    )


def _word(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError("no plain value")
    return str(value)[:_LONGEST]


def _files(found: Any) -> Values:
    return {(drift.CODE, name): _word(digest) for name, digest in found.items()}


def _imported(found: Any) -> Values:
    return {(drift.CODE, name): _word(about["digest"]) for name, about in found.items()}


def _data(found: Any) -> Values:
    return {(drift.DATA, name): _datum(about) for name, about in found.items()}


def _datum(about: Any) -> str:
    if "digest" not in about:
        return f"missing: {_word(about.get('missing'))}"
    count, size = about.get("files"), about.get("size_bytes")
    unreadable = f", unreadable: {', '.join(about['unreadable'])}" if "unreadable" in about else ""
    files = f"{count} file{'' if count == 1 else 's'}"
    return f"{_word(about['digest'])} ({files}, {size} bytes{unreadable})"


def _software(found: Any) -> Values:
    system = found.get("os") or {}
    told = {
        (drift.PYTHON, ""): f"{_word(found['implementation'])} {_word(found['python'])}",
        (drift.IMAGE, ""): found.get("image"),
        **{(drift.SYSTEM, name): system.get(name) for name in ("name", "libc", "platform")},
    }
    return {key: _word(value) for key, value in told.items() if value is not None}


def _packages(found: Any) -> Values:
    return {
        (drift.PACKAGE, name): _word(about) for name, about in found.items() if name not in _TOOLS
    }


def _edited(found: Any) -> Values:
    return {(drift.PACKAGE, name): f"{EDITED}: {_word(digest)}" for name, digest in found.items()}


def _libraries(found: Any) -> Values:
    return {(drift.LIBRARY, name): ", ".join(map(_word, files)) for name, files in found.items()}


def _variables(found: Any) -> Values:
    return {
        (drift.THREADS if name in THREAD_VARIABLES else drift.VARIABLE, name): _word(value)
        for name, value in found.items()
        if name not in _PLACES and not name.startswith(_PLACE_PREFIXES)
    }


def _machine(found: Any) -> Values:
    cpu, gpus = found.get("cpu") or {}, found.get("gpus")
    told = {
        (drift.CORES, "usable cores"): found.get("usable_cores"),
        (drift.CORES, "limit"): found.get("cpu_limit", "none"),
        (drift.CPU, "model"): cpu.get("model"),
        (drift.CPU, "flags"): " ".join(cpu["flags"]) if "flags" in cpu else None,
        (drift.CPU, "architecture"): found.get("architecture"),
        (drift.GPU, ""): None if gpus is None else _joined(gpu["name"] for gpu in gpus) or "none",
        (drift.DRIVER, ""): _joined({gpu["driver"] for gpu in gpus}) if gpus else None,
    }
    return {key: _word(value)[:2000] for key, value in told.items() if value is not None}


def _joined(words: Any) -> str:
    return ", ".join(sorted(map(_word, words)))


def _threads(found: Any) -> Values:
    return {(drift.THREADS, name): _word(count) for name, count in found.items()}


def _numerics(found: Any) -> Values:
    return {(drift.NUMERICS, name): _word(digest) for name, digest in found.items()}


def _switches(found: Any) -> Values:
    """Return seeds and switches, without the states of generators."""
    switches = {name: value for name, value in found.items() if name != "environ"}
    told = {
        (drift.THREADS if name.endswith("threads") else drift.SEED, name): value
        for name, value in _leaves(switches, "", 0)
        if not name.endswith(("_state", "initialized"))
    }
    return {**told, **_variables(found.get("environ") or {})}


def _leaves(found: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(found, dict):
        yield name, _word(found)
        return
    if depth > _DEEPEST:
        raise ValueError("too deep")
    for key, value in found.items():
        yield from _leaves(value, f"{name}.{key}" if name else str(key), depth + 1)


SWITCHES_AT_END = Part(("at_end", "randomness"), _switches, both=True)
SWITCHES_AT_START = Part(("randomness", "at_start"), _switches, both=True)
# The first part that tells of a kind and name is believed.
PARTS = (
    Part(("code", "files"), _files),
    Part(("at_end", "imported"), _imported),
    Part(("data",), _data),
    Part(("environment",), _software),
    Part(("environment", "packages"), _packages),
    Part(("at_end", "edited"), _edited, absent="as installed"),
    Part(("at_end", "libraries"), _libraries),
    Part(("command", "environ"), _variables, absent="not set"),
    Part(("machine",), _machine, both=True),
    Part(("at_end", "threads"), _threads, both=True),
    SWITCHES_AT_END,
    SWITCHES_AT_START,
    Part(("at_end", "numerics"), _numerics, both=True),
)
