"""What a run's manifest tells of its circumstances, as plain values by name.

A manifest may come from anywhere and hold anything: what is not of the expected shape
is a gap, and never equal to something.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.errors import NoRecord, RecordError
from runback.record import manifest
from runback.runs.code import without_stores
from runback.runs.folder import record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runback.runs.run import Run

Value = str | int | float | bool
Values = dict[str, Value]

DEEPEST = 20
LEFT_OUT = "left out: "
GIT = ("code", "git")


@dataclass(frozen=True)
class Part:
    """A part of a section that is recorded, or not, as a whole. prefix: of its values' names."""

    section: str
    prefix: str
    path: tuple[str, ...]
    values: Callable[[Any], Values]


@dataclass
class Facts:
    """What is known of a run, by part; gaps: why a part is not."""

    values: dict[Part, Values] = field(default_factory=dict)
    gaps: dict[Part, str] = field(default_factory=dict)


def of_run(root: Path, run: Run) -> Facts:
    """Return what the run's record tells; all gaps if there is none."""
    try:
        known = manifest.read(record_of(root, run.listed), run.id)
    except (NoRecord, RecordError) as error:
        return Facts(gaps=dict.fromkeys(PARTS, str(error)))
    return of_manifest(known)


def of_manifest(known: dict[str, Any]) -> Facts:
    """Return what a manifest tells, whatever it is."""
    facts = Facts()
    for part in PARTS:
        try:
            facts.values[part] = part.values(_at(known, part.path))
        except (KeyError, TypeError):
            going_on = "" if manifest.is_final(known) else " (the run goes on, or was killed)"
            facts.gaps[part] = f"not in its record{going_on}"
        except (ValueError, RecursionError) as error:
            facts.gaps[part] = f"its manifest has nonsense there: {error}"[:200]
    return facts


def _at(known: dict[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = known
    for name in path:
        found = found[name]
    if found is None and path != GIT:
        raise KeyError(path)
    return found


def _flat(found: Any) -> Values:
    """Return values by dotted name, without ids and digests of states."""
    if not isinstance(found, dict):
        raise ValueError(f"{found!r}"[:60])
    return {
        name: value
        for name, value in _leaves(found, "", 0)
        if not name.endswith(("_state", ".uuid")) and name not in ("boot_id", "pid")
    }


def _leaves(found: Any, name: str, depth: int) -> Iterator[tuple[str, Value]]:
    if depth > DEEPEST:
        raise ValueError("too deep")
    if isinstance(found, dict):
        for key in sorted(found):
            yield from _leaves(found[key], f"{name}.{key}" if name else key, depth + 1)
    elif isinstance(found, list) and any(isinstance(item, dict | list) for item in found):
        for at, item in enumerate(found):
            yield from _leaves(item, f"{name}.{at}", depth + 1)
    elif isinstance(found, list):
        yield from ([(name, ", ".join(map(_word, found)))] if found else [])
    elif found is not None:
        yield name, found


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _code(found: Any) -> Values:
    """Return the digest of each file, or why the snapshot has it not."""
    if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
        raise ValueError("no files of the code")
    left_out = found.get("left_out")
    reasons = without_stores(left_out if isinstance(left_out, dict) else {})
    return {
        **{name: f"{LEFT_OUT}{why}" for name, why in reasons.items()},
        **{name: _word(digest) for name, digest in found["files"].items()},
    }


def _whole_code(found: Any) -> Values:
    if not isinstance(found, str):
        raise ValueError(f"{found!r}"[:60])
    return {"": found}


def _git(found: Any) -> Values:
    return {} if found is None else _flat(found)


def _software(found: Any) -> Values:
    return {name: v for name, v in _flat(found).items() if not name.startswith("packages.")}


def _command(found: Any) -> Values:
    """Return the words of a command without the path of its program, which is a place."""
    values = _flat(found)
    values.pop("unset", None)  # it follows from the code and the other variables
    argv = found.get("argv")
    if isinstance(argv, list) and argv and all(isinstance(word, str) for word in argv):
        values["argv"] = shlex.join(argv[1:])
        values["executable"] = argv[0]
    return values


def _data(found: Any) -> Values:
    """Return the digest of each declared path, or why it has none."""
    if not isinstance(found, dict):
        raise ValueError(f"{found!r}"[:60])
    return {name: _datum(about) for name, about in found.items()}


def _datum(about: Any) -> str:
    if not isinstance(about, dict) or not isinstance(about.get("digest"), str):
        missing = about.get("missing") if isinstance(about, dict) else about
        return f"missing: {_word(missing)}"
    unreadable = about.get("unreadable")
    rest = f", without what is unreadable: {_word(unreadable)}" if unreadable else ""
    return f"{about['digest']}{rest}"


CODE = Part("code", "", ("code",), _code)
WHOLE_CODE = Part("code", "(links and executable bits)", ("code", "digest"), _whole_code)
PARTS = (
    CODE,
    WHOLE_CODE,
    Part("code", "git ", GIT, _git),
    Part("environment", "", ("environment",), _software),
    Part("environment", "package ", ("environment", "packages"), _flat),
    Part("machine", "", ("machine",), _flat),
    Part("machine", "library ", ("at_end", "libraries"), _flat),
    Part("machine", "numerics ", ("at_end", "numerics"), _flat),
    Part("data", "", ("data",), _data),
    Part("command", "", ("command",), _command),
    Part("randomness", "at start ", ("randomness", "at_start"), _flat),
    Part("randomness", "at end ", ("at_end", "randomness"), _flat),
)
