"""Read a training's parameters from params.yaml and the command line, and check them.

The parameters are the fields of a dataclass, each annotated with what is allowed:

    @dataclass(frozen=True)
    class Config:
        epochs: Annotated[int, Between(1, 1000), "passes over the training data"]

Values come from params.yaml, so that there is one place for defaults; an option of
the same name (--epochs) goes before it. All problems are reported at once.
"""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from runback.errors import ParamsError

T = TypeVar("T")


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`; `above` and `below` leave out that end."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def admits(self, value: Any) -> bool:
        low = bool(self.low < value if self.above else self.low <= value)
        return low and bool(value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low, high = _bound(self.low), _bound(self.high)
        start = f"above {low}" if self.above else f"from {low}"
        return f"{start} {'and below' if self.below else 'to'} {high}"


def _bound(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    choices: tuple[str, ...]

    def admits(self, value: object) -> bool:
        return value in self.choices

    def __str__(self) -> str:
        return ", ".join(self.choices)


@dataclass(frozen=True)
class Text:
    """Any text but the empty one, or any that matches; `what` says what it is: "a folder"."""

    what: str
    pattern: str = r"(?s).+"

    def admits(self, value: object) -> bool:
        return isinstance(value, str) and bool(re.fullmatch(self.pattern, value))

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Param:
    """One parameter: its name and type, what it may be, and a line of help."""

    name: str
    type: type
    allowed: Between | OneOf | Text
    help: str

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def rule(self) -> str:
        kinds = {int: "a whole number ", float: "a number "}
        kind = "one of " if isinstance(self.allowed, OneOf) else kinds.get(self.type, "")
        return kind + str(self.allowed)


def declared(config: type[Any]) -> list[Param]:
    """Return the parameters that a dataclass of annotated fields declares."""
    hints = get_type_hints(config, include_extras=True)
    params = []
    for field in fields(config):
        assert get_origin(hints[field.name]) is not None, f"{field.name} needs Annotated[…]"
        kind, allowed, text = get_args(hints[field.name])
        params.append(Param(field.name, kind, allowed, text))
    return params


def load(
    config: type[T],
    argv: Sequence[str],
    file: Path,
    section: str = "train",
    script: str | None = None,
) -> T:
    """Return a `config` with the values of `file`'s `section`, `argv`'s options before them.

    Raises ParamsError with every problem: unknown names, missing ones, values that
    are no number or out of range, each with where it was given and what is allowed.
    """
    params = declared(config)
    script = script or Path(sys.argv[0]).name
    given, unknown = _parse(params, argv, config.__doc__ or "", script)
    in_file, problems = read_section(file, section, params)
    values: dict[str, Any] = {}
    for param in params:
        if param.name in given:
            source, raw = param.option, given[param.name]
        elif param.name in in_file:
            source, raw = file.name, in_file[param.name]
        else:
            problems.append(f"{param.name}: missing in {file.name}; {param.rule}")
            continue
        value = convert(param, raw)
        if value is None:
            problems.append(f"{param.name} = {raw!r} ({source}): must be {param.rule}")
        values[param.name] = value
    problems += _unknown(unknown, params)
    if problems:
        raise ParamsError(problems, script)
    return config(**values)


def _parse(
    params: list[Param], argv: Sequence[str], doc: str, script: str
) -> tuple[dict[str, str], list[str]]:
    """Return the options as text by parameter name, and what is none of them."""
    parser = argparse.ArgumentParser(
        prog=f"python {script}", description=doc.splitlines()[0], allow_abbrev=False
    )
    for param in params:
        # nargs="?": an option without its value is one more problem, not the end.
        parser.add_argument(
            param.option,
            nargs="?",
            const="",
            metavar=param.name.upper(),
            help=f"{param.help}; {param.rule}".replace("%", "%%"),
        )
    namespace, rest = parser.parse_known_args(list(argv))
    given = {name: text for name, text in vars(namespace).items() if text is not None}
    return given, rest


def read_section(file: Path, section: str, params: list[Param]) -> tuple[dict[str, Any], list[str]]:
    """Return the section's values, by the names of params, and what is wrong with the file."""
    import yaml

    try:
        whole = yaml.safe_load(file.read_text()) or {}
    except OSError as error:
        return {}, [f"{file}: {error.strerror}"]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return {}, [f"{file.name} is not valid YAML: {' '.join(str(error).split())}"]
    values = whole.get(section) if isinstance(whole, Mapping) else None
    if not isinstance(values, Mapping):
        return {}, [f"{file.name} has no section {section!r} with names and values"]
    known = {param.name for param in params}
    problems = [
        f"{name} ({file.name}): no such parameter{meant(str(name), sorted(known))}"
        for name in values
        if name not in known
    ]
    return {name: values[name] for name in values if name in known}, problems


def convert(param: Param, raw: object) -> Any:
    """Return the value as the parameter's type, None if it cannot be or is not allowed.

    YAML reads `1e-3` as text (it wants `1.0e-3`), so a number may come as text, and a
    text that looks like a number as one.
    """
    if isinstance(raw, bool) or raw is None:
        return None
    if param.type is str:
        text = str(raw) if isinstance(raw, int) else raw
        return text if param.allowed.admits(text) else None
    try:
        number = float(str(raw))
    except ValueError:
        return None
    if not math.isfinite(number) or (param.type is int and number != int(number)):
        return None
    value = param.type(number)
    return value if param.allowed.admits(value) else None


def _unknown(words: list[str], params: list[Param]) -> list[str]:
    """Word the options that are none; what follows such an option is its value."""
    options = [param.option for param in params]
    problems = []
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("-"):
            name = word.partition("=")[0]
            problems.append(f"{name}: no such option{meant(name, options)}")
        elif not before.startswith("-"):
            problems.append(f"{word}: not an option")
    return problems


def meant(word: str, known: Sequence[str]) -> str:
    """Return which of the known words is meant, as the end of a sentence; "" if none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
