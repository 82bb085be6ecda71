"""Read an experiment of Keepsake from its JSON file: checked, with all that its reader needs.

Go wrote it: 1.0 stands there as 1, NaN as "[NaN]", and an empty list as null.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files
from runback.record.primary import GOALS, PrimaryMetric
from runback.record.state import is_time

if TYPE_CHECKING:
    from pathlib import Path

ID = re.compile(r"[0-9a-f]{64}")
# MLflow's limit for the value of a param.
LONGEST_PARAM = 6000
_WORDS = {"[NaN]": math.nan, "[+Infinity]": math.inf, "[-Infinity]": -math.inf}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Checkpoint:
    """What was saved at a step. path: "" if that was no files. created_ms: since 1970."""

    id: str
    created_ms: int
    step: int
    path: str
    metrics: dict[str, float]
    primary_metric: PrimaryMetric | None

    @property
    def model_id(self) -> str:
        return f"m-{self.id[:32]}"


@dataclass(frozen=True)
class Experiment:
    """An experiment. raw: its file. notes: what of it MLflow has no place for, in words."""

    id: str
    created_ms: int
    params: dict[str, str]
    user: str
    host: str
    command: str
    path: str
    python: str
    packages: dict[str, str]
    version: str
    checkpoints: list[Checkpoint]
    raw: bytes
    notes: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return self.id[:32]

    @property
    def short_id(self) -> str:
        """Return the id as Keepsake showed it."""
        return self.id[:7]

    @property
    def primary_metric(self) -> PrimaryMetric | None:
        return next((c.primary_metric for c in self.checkpoints if c.primary_metric), None)


def read(path: Path) -> Experiment:
    """Return the experiment in a file named by its id. Raises RecordError."""
    raw = files.read(path, files.LARGEST_JSON_BYTES)
    try:
        return _Reader(path, json.loads(raw)).experiment(raw)
    except UnicodeEncodeError as error:
        raise RecordError(path, "has text that is not Unicode") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(path, f"is not JSON ({error})"[:200]) from error


def heartbeat(path: Path) -> tuple[int, bytes] | None:
    """Return when an experiment last gave a sign of life (ms since 1970), and the file.

    None without one: it said that it had stopped, or its heartbeat was switched off.
    """
    try:
        raw = files.read(path, files.LARGEST_JSON_BYTES)
        content = json.loads(raw)
    except (RecordError, ValueError, RecursionError):
        return None
    found = _ms(content.get("last_heartbeat")) if isinstance(content, dict) else None
    return None if found is None else (found, raw)


class _Reader:
    """Reads the fields; raises RecordError where one is not what Keepsake writes."""

    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        self.content = self._kind(dict, content, "object")
        self.notes: list[str] = []
        json.dumps(content, ensure_ascii=False).encode()  # lone surrogates: no text of SQLite's

    def experiment(self, raw: bytes) -> Experiment:
        content = self.content
        found_id = self._id(content)
        if found_id != self.path.stem:
            raise RecordError(self.path, f"is of another experiment, {found_id}")
        packages = self._kind(dict, content.get("python_packages") or {}, "python_packages")
        return Experiment(
            id=found_id,
            created_ms=self._time(content),
            params=self._params(),
            **{name: self._text(content, name) for name in ("user", "host", "command", "path")},
            python=self._text(content, "python_version"),
            packages={str(name): str(version) for name, version in packages.items()},
            version=self._text(content, "keepsake_version")
            or self._text(content, "replicate_version"),
            checkpoints=self._checkpoints(),
            raw=raw,
            notes=[f"{found_id[:7]}: {note}" for note in dict.fromkeys(self.notes)],
        )

    def _kind(self, kind: type, value: Any, what: str) -> Any:
        if not isinstance(value, kind):
            raise RecordError(self.path, f"has no proper {what}: {json.dumps(value)}"[:200])
        return value

    def _id(self, content: dict[str, Any]) -> str:
        found = content.get("id")
        if not isinstance(found, str) or not ID.fullmatch(found):
            raise RecordError(self.path, f"has no id of Keepsake's: {json.dumps(found)}"[:200])
        return found

    def _time(self, content: dict[str, Any]) -> int:
        found = _ms(content.get("created"))
        if found is None:
            reason = f"has no time in `created`: {json.dumps(content.get('created'))}"
            raise RecordError(self.path, reason[:200])
        return found

    def _text(self, content: dict[str, Any], name: str) -> str:
        return str(self._kind(str, content.get(name) or "", name))

    def _params(self) -> dict[str, str]:
        params = self._kind(dict, self.content.get("params") or {}, "params")
        found = {name: _param(value) for name, value in params.items()}
        long = [name for name, text in found.items() if len(text) > LONGEST_PARAM]
        self.notes += [f"param {name!r} is cut to {LONGEST_PARAM} characters" for name in long]
        return {name: text[:LONGEST_PARAM] for name, text in found.items()}

    def _checkpoints(self) -> list[Checkpoint]:
        listed = self._kind(list, self.content.get("checkpoints") or [], "checkpoints")
        found = [self._checkpoint(entry, position) for position, entry in enumerate(listed)]
        if len({checkpoint.model_id for checkpoint in found}) < len(found):
            raise RecordError(self.path, "has two checkpoints whose ids begin alike")
        return found

    def _checkpoint(self, entry: Any, position: int) -> Checkpoint:
        content = self._kind(dict, entry, "checkpoint")
        step = content.get("step")
        if type(step) is not int or not -(2**63) <= step < 2**63:
            if step is not None:
                self.notes.append(f"step {step!r} is no whole number: {position}, its position")
            step = position
        return Checkpoint(
            id=self._id(content),
            created_ms=self._time(content),
            step=step,
            path=self._text(content, "path"),
            metrics=self._metrics(content),
            primary_metric=self._primary(content.get("primary_metric")),
        )

    def _metrics(self, content: dict[str, Any]) -> dict[str, float]:
        found = {}
        for name, value in self._kind(dict, content.get("metrics") or {}, "metrics").items():
            number = _number(value)
            if number is None:
                self.notes.append(f"metric {name!r} has values that are no numbers")
            else:
                found[name] = number
        return found

    def _primary(self, content: Any) -> PrimaryMetric | None:
        if content is None:
            return None
        found = self._kind(dict, content, "primary_metric")
        name, goal = self._text(found, "name"), found.get("goal")
        if not name or goal not in GOALS:
            self.notes.append(f"primary metric {name!r} has the goal {goal!r}: none is best")
            return None
        return PrimaryMetric(name, goal)


def _ms(text: Any) -> int | None:
    """Return the time that RFC 3339 tells (ms since 1970), None if it tells none."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    ms = (found - _EPOCH) // timedelta(milliseconds=1)
    return ms if is_time(ms) else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _WORDS.get(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _param(value: Any) -> str:
    """Return a value as MLflow stores it: the text that Python prints, JSON where it is nested."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(_WORDS.get(value, value)) if isinstance(value, str) else str(value)
