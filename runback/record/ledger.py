"""ledger.jsonl: digests of a training's weights, batches and generators, moment by moment.

A line is an object: `at` ("begin", "step" or "epoch"), `fit` and `epoch` (from 0), `step`
(optimizer steps of this fit so far), `weights` and `random` (digest by name). What could
not be looked at is absent. A digest is the first 16 hex characters of a sha256.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files
from runback.record.append import append_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BEGIN, STEP, EPOCH = MOMENTS = ("begin", "step", "epoch")
ALL, LAST = "all", "last"
DIGEST = re.compile(r"[0-9a-f]{16}")
# A model of 10,000 tensors with long names has a line of 1 MB.
LONGEST_LINE_BYTES = 8_000_000
# Further steps are not noted: the first that differs is what a ledger is for.
LARGEST_BYTES = 200_000_000


@dataclass(frozen=True)
class Line:
    """What was noted at one moment.

    at: one of MOMENTS. fit: fits of the process, from 0. epoch: from 0; the one that begins,
    goes on, or has ended. step: optimizer steps of this fit so far, None where nobody counts
    them. weights: digest by the tensor's name. random: digest by library, of its
    generators' states. batch: of the last batch (`batches` is LAST), or of all since the
    line before (ALL). data: of the arrays that the fit was given. optimizer: of its state.
    """

    at: str
    fit: int
    epoch: int
    step: int | None
    weights: Mapping[str, str] = field(default_factory=dict)
    random: Mapping[str, str] = field(default_factory=dict)
    batch: str | None = None
    batches: str | None = None
    data: str | None = None
    optimizer: str | None = None


# Where a line has nothing, the field is absent.
OPTIONAL = ("batch", "batches", "data", "optimizer")


def to_line(line: Line) -> bytes:
    """Return the JSON of a line, without its end."""
    found: dict[str, Any] = {"at": line.at, "fit": line.fit, "epoch": line.epoch}
    found |= {} if line.step is None else {"step": line.step}
    found |= {"weights": dict(line.weights), "random": dict(line.random)}
    found |= {name: value for name in OPTIONAL if (value := getattr(line, name)) is not None}
    return json.dumps(found, separators=(",", ":")).encode()


def from_line(item: Any) -> Line:
    """Return the line of a parsed object; fields that are not known are ignored.

    Raises ValueError.
    """
    if not isinstance(item, dict):
        raise ValueError(f"not an object: {item!r}"[:200])
    if item.get("at") not in MOMENTS:
        raise ValueError(f"at is {item.get('at')!r}, not one of {', '.join(MOMENTS)}"[:200])
    if item.get("batches") not in (None, ALL, LAST):
        raise ValueError(f"batches is {item['batches']!r}, not {ALL} or {LAST}"[:200])
    return Line(
        at=item["at"],
        fit=_count("fit", item.get("fit")),
        epoch=_count("epoch", item.get("epoch")),
        step=None if item.get("step") is None else _count("step", item["step"]),
        weights=_digests("weights", item.get("weights", {})),
        random=_digests("random", item.get("random", {})),
        batches=item.get("batches"),
        **{
            name: None if item.get(name) is None else _digest(name, item[name])
            for name in ("batch", "data", "optimizer")
        },
    )


def _count(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {value!r}, not a count"[:200])
    return value


def _digests(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}, not an object"[:200])
    return {key: _digest(f"{name}: {key}", digest) for key, digest in value.items()}


def _digest(name: str, value: Any) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{name} is {value!r}, not a digest"[:200])
    return value


def append(path: Path, added: Sequence[bytes]) -> bool:
    """Add lines, durable when this returns; say whether the file had room for them.

    added: what `to_line` made. Raises OSError: then nothing is added.
    """
    size = path.lstat().st_size if os.path.lexists(path) else 0
    if size + sum(len(line) + 1 for line in added) > LARGEST_BYTES:
        return False
    append_lines(path, added, LONGEST_LINE_BYTES)
    return True


def read(path: Path) -> Iterator[Line]:
    """Yield the lines of a ledger; a last line without an end is left out.

    Raises RecordError: missing, no plain file, too large, or at the first line that is
    none of a ledger's, after all those before it.
    """
    handle = files.open_plain(path)
    with os.fdopen(handle, "rb") as file:
        if os.fstat(handle).st_size > LARGEST_BYTES:
            raise RecordError(path, f"has more than the {LARGEST_BYTES} bytes it can have")
        number = 0
        while text := file.readline(LONGEST_LINE_BYTES + 1):
            number += 1
            if not text.endswith(b"\n"):
                if len(text) > LONGEST_LINE_BYTES:
                    raise RecordError(path, f"line {number} is longer than it can be")
                return
            yield _parsed(path, number, text)


def _parsed(path: Path, number: int, text: bytes) -> Line:
    try:
        return from_line(json.loads(text))
    except (ValueError, RecursionError) as error:
        reason = f"line {number} is none of a ledger's: {error}"[:200]
        raise RecordError(path, reason) from error
