"""Names that tell that a value is another one each time: durations, and what a user names."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# camelCase has words too.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLAIN = re.compile(r"[A-Za-z0-9_/. -]+")
# The whole name has to be one of these shapes: mean_survival_time and ms_ssim are results.
_OF = (
    r"((fit|epoch|step|train|training|test|eval|evaluation|validation|val|batch|iter|iteration"
    r"|total|wall|run|load|data|forward|backward|compile|elapsed|\d+) )*"
)
_UNIT = r"( (s|sec|secs|seconds|ms|min|us|ns))?"
_COUNTED = r"((samples|steps|batches|epochs|iterations|iters|it|examples|tokens|images) )?"
_TIMING = re.compile(
    rf"{_OF}((time|walltime|duration|runtime|seconds|elapsed){_UNIT}"
    rf"|{_COUNTED}per (s|sec|second)|throughput)"
)


def is_timing(name: str) -> bool:
    """Say whether all of a metric's name says that it is a duration or a rate of the training."""
    if not _PLAIN.fullmatch(name):
        return False
    return _TIMING.fullmatch(" ".join(word.lower() for word in _WORD.findall(name))) is not None


def ignored(name: str, globs: Iterable[str]) -> str | None:
    """Return the first of the user's globs that this name has, None if none."""
    return next((glob for glob in globs if fnmatchcase(name, glob)), None)
