"""Check what init() and checkpoint() were given, all of it before anything is done.

Numbers come as training loops have them: tensors and arrays of any framework are
asked for their value, none of those frameworks is imported. Names and lengths
follow MLflow's rules.
"""

from __future__ import annotations

import math
import operator
import posixpath
import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from runback.record.primary import GOALS, PrimaryMetric

NAME = re.compile(r"[/\w.\- :]+")
LONGEST_NAME = 250
LONGEST_PARAM = 6_000
# What a framework raises where a tensor is no number.
NO_NUMBER = (TypeError, ValueError, RuntimeError, AttributeError, OverflowError)


def params_of(given: Any, known: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return params as MLflow keeps them. known: those that the run has, which cannot change."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(f"params is {_shown(given)}, not a dict")
        return {}
    found = {}
    for name, value in given.items():
        _check_name("param", name, problems)
        text = str(value)
        if len(text) > LONGEST_PARAM:
            problems.append(f"param {name!r} has {len(text):,} characters, more than 6,000")
        if known.get(name, text) != text:
            problems.append(f"param {name!r} is {known[name]} in this run already, and not {text}")
        found[str(name)] = text
    return {name: text for name, text in found.items() if name not in known}


def metrics_of(given: Any, problems: list[str]) -> dict[str, float]:
    """Return metrics as floats; NaN and infinities are numbers."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(f"metrics is {_shown(given)}, not a dict")
        return {}
    found = {}
    for name, value in given.items():
        _check_name("metric", name, problems)
        number = _number(value)
        if number is None:
            problems.append(f"metric {name!r} is {_shown(value)}, not one number")
        else:
            found[str(name)] = number
    return found


def step_of(given: Any, problems: list[str]) -> int | None:
    """Return a step as a whole number, None if none was given."""
    if given is None:
        return None
    try:
        step = operator.index(given)
    except NO_NUMBER:
        problems.append(f"step is {_shown(given)}, not a whole number")
        return None
    if not -(2**63) <= step < 2**63:
        problems.append(f"step is {step}, which has more than 64 bits")
    return step


def primary_of(given: Any, problems: list[str]) -> PrimaryMetric | None:
    """Return the primary metric of `("loss", "minimize")`, None if none was given."""
    if given is None:
        return None
    if isinstance(given, PrimaryMetric):
        given = (given.name, given.goal)
    pair = given if isinstance(given, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        problems.append(f'primary_metric is {_shown(given)}, not like ("loss", "minimize")')
        return None
    name, goal = pair
    if goal not in GOALS:
        problems.append(f'the goal of primary_metric is {goal!r}: it is "minimize" or "maximize"')
    return PrimaryMetric(name, goal)


def check_among(primary: PrimaryMetric | None, metrics: Any, problems: list[str]) -> None:
    """Name the primary metric if it is not one of those that were given."""
    names = list(metrics) if isinstance(metrics, Mapping) else []
    if primary and primary.name not in names:
        known = ", ".join(map(str, names)) or "none"
        problems.append(f"primary_metric {primary.name!r} is not among the metrics ({known})")


def is_better(value: float, than: float | None, goal: str) -> bool:
    """Say whether a value is the better one. NaN never is, nor an infinity."""
    if not math.isfinite(value) or than is None:
        return math.isfinite(value)
    return value < than if goal == "minimize" else value > than


def _check_name(kind: str, name: Any, problems: list[str]) -> None:
    if not isinstance(name, str):
        problems.append(f"the name of a {kind} is {_shown(name)}, not a str")
    elif len(name) > LONGEST_NAME:
        problems.append(f"{kind} {name[:40]!r}…: a name of {len(name)} characters, more than 250")
    elif not NAME.fullmatch(name) or _is_no_path(name):
        problems.append(
            f"{kind} {name!r}: MLflow takes letters, digits, blanks and _-.:/ in a name, "
            "/ as in a relative path"
        )


def _is_no_path(name: str) -> bool:
    """Say whether MLflow refuses a name, which it may use as a path."""
    return posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/"))


def _number(value: Any) -> float | None:
    """Return a number, or the only one in a tensor or array, as a float; else None."""
    try:
        if not hasattr(value, "item") and callable(getattr(value, "numpy", None)):
            value = value.numpy()  # TensorFlow's and Keras's; of torch's, item() is enough
        if callable(getattr(value, "item", None)):
            value = value.item()
        return float(value) if isinstance(value, Real | Decimal) else None
    except NO_NUMBER:
        return None


def _shown(value: Any) -> str:
    """Return a value with its type, cut where it is long."""
    try:
        text = repr(value)
    except NO_NUMBER:
        text = "…"
    text = text if len(text) <= 60 else f"{text[:57]}…"
    return f"{' '.join(text.split())} ({type(value).__name__})"
