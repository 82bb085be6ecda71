"""What a search varies, read from params.yaml beside the values, and checked against them.

search:
  learning_rate: {low: 0.0003, high: 0.03, log: true}
  filters: {choices: [8, 16, 32]}
  dropout: {low: 0, high: 0.5, step: 0.05}
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback import params
from runback.errors import ParamsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution

    from runback.params import Param

SECTION = "search"
_RANGE = ("low", "high", "log", "step")
_FORMS = "{low: …, high: …} with log: true or step: …, or {choices: […]}"


@dataclass(frozen=True)
class Range:
    """The numbers from low to high, both included; ints if low is one. log: by magnitude."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int):
            return IntDistribution(self.low, int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def value(self, drawn: Any) -> Any:
        """Return a number that was drawn without what adding up steps makes of it (0.1 + 0.2)."""
        return float(f"{drawn:.12g}") if self.step and isinstance(drawn, float) else drawn

    def __str__(self) -> str:
        how = ", log" if self.log else f" by {self.step!r}" if self.step else ""
        return f"{self.low!r} to {self.high!r}{how}"


@dataclass(frozen=True)
class Choices:
    """One of a few values."""

    values: tuple[Any, ...]

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def value(self, drawn: Any) -> Any:
        return drawn

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


def read(config: type[Any], file: Path, section: str = SECTION) -> dict[str, Range | Choices]:
    """Return what the section varies of a dataclass's parameters, in their order.

    Raises ParamsError with every problem: unknown names, values that the training would
    refuse, ranges that are none.
    """
    known = params.declared(config)
    given, problems = params.read_section(file, section, known)
    if not given and not problems:
        problems.append(f"section {section!r} ({file.name}) varies nothing")
    found = {}
    for param in known:
        if param.name in given:
            form = _Form(param, given[param.name], f"{section}.{param.name}", file.name, problems)
            found[param.name] = form.read()
    if problems:
        raise ParamsError(problems, Path(sys.argv[0]).name)
    return {name: varied for name, varied in found.items() if varied}


def given_too(varied: Mapping[str, Any], argv: Sequence[str]) -> list[str]:
    """Return what is wrong with options of the training: those that are varied are given too."""
    given = {word.partition("=")[0] for word in argv}
    options = {"--" + name.replace("_", "-"): name for name in varied}
    return [
        f"{option}: section {SECTION!r} varies {name}"
        for option, name in options.items()
        if option in given
    ]


@dataclass(frozen=True)
class _Form:
    """How one parameter is varied, as given; what is wrong with it goes to `problems`."""

    param: Param
    given: Any
    where: str
    file: str
    problems: list[str]

    def read(self) -> Range | Choices | None:
        before = len(self.problems)
        if not isinstance(self.given, Mapping) or not self.given:
            self._wrong("", self.given, _FORMS)
            return None
        for name in self.given:
            if name not in (*_RANGE, "choices"):
                meant = params.meant(str(name), (*_RANGE, "choices"))
                self.problems.append(f"{self.where}.{name} ({self.file}): no such word{meant}")
        if len(self.problems) > before:
            return None
        found = self._choices() if "choices" in self.given else self._range()
        return found if len(self.problems) == before else None

    def _choices(self) -> Choices | None:
        choices = self.given["choices"]
        if also := [name for name in _RANGE if name in self.given]:
            self._say(f"has choices, and {' and '.join(also)} too")
        if not isinstance(choices, list) or not choices:
            self._wrong("choices", choices, "a list of values")
            return None
        found = [self._allowed("choices", choice) for choice in choices]
        if None not in found and len(set(found)) < len(found):
            self._wrong("choices", choices, "a list in which each value is once")
        return Choices(tuple(found))

    def _range(self) -> Range | None:
        if self.param.type is str:
            self._wrong("", self.given, f"{{choices: […]}} of {self.param.allowed}")
            return None
        missing = [name for name in ("low", "high") if name not in self.given]
        if missing:
            self._say(f"has no {' and no '.join(missing)}")
            return None
        low, high = (self._allowed(name, self.given[name]) for name in ("low", "high"))
        log = self.given.get("log", False)
        if not isinstance(log, bool):
            self._wrong("log", log, "true or false")
        if low is None or high is None:
            return None
        if low > high:
            self._wrong("low", low, f"at most high, {high!r}")
        if log is True and low <= 0:
            self._wrong("low", low, "above 0 with log: true")
        if log is True and "step" in self.given:
            self._say("has log: true, and a step too")
        return Range(low, high, log is True, self._step(low, high))

    def _step(self, low: float, high: float) -> float | None:
        """Return the step, which has to lead from low to high."""
        if "step" not in self.given:
            return None
        given = self.given["step"]
        step = _number(given)
        is_whole = step is not None and step == int(step)
        if step is None or step <= 0 or not (is_whole or self.param.type is float):
            kind = "a number" if self.param.type is float else "a whole number"
            self._wrong("step", given, f"{kind} above 0")
            return None
        if (Decimal(repr(high)) - Decimal(repr(low))) % Decimal(repr(step)):
            self._wrong("step", given, f"one that leads from {low!r} to {high!r}")
        return step

    def _allowed(self, name: str, raw: Any) -> Any:
        """Return a value that the training takes, None of what it would refuse."""
        value = params.convert(self.param, raw)
        if value is None:
            self._wrong(name, raw, self.param.rule)
        return value

    def _wrong(self, name: str, raw: Any, rule: str) -> None:
        path = f"{self.where}.{name}" if name else self.where
        self.problems.append(f"{path} = {raw!r} ({self.file}): must be {rule}")

    def _say(self, what: str) -> None:
        self.problems.append(f"{self.where} ({self.file}): {what}")


def _number(raw: Any) -> float | None:
    """Return a finite number, which YAML may have as text (1e-3); None of what is none."""
    try:
        found = None if isinstance(raw, bool) else float(str(raw))
    except ValueError:
        return None
    return found if found is not None and math.isfinite(found) else None
