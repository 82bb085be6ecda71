"""Time two commands in turn, so that a machine's drift hits both."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Seconds of each run of two commands, taken in turn."""

    one_s: list[float]
    other_s: list[float]

    @property
    def difference_s(self) -> float:
        """Median of the differences, pair by pair."""
        return statistics.median(a - b for a, b in zip(self.one_s, self.other_s, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(a / b for a, b in zip(self.one_s, self.other_s, strict=True))

    def __str__(self) -> str:
        one, other = statistics.median(self.one_s), statistics.median(self.other_s)
        spread = f"{min(self.one_s):.2f} to {max(self.one_s):.2f}"
        return (
            f"{one:.3f} s against {other:.3f} s: {self.difference_s:+.3f} s, "
            f"x{self.ratio:.2f} (n={len(self.one_s)}, {spread})"
        )


def side_by_side(
    one: Sequence[str],
    other: Sequence[str],
    cwd: Path,
    runs: int,
    environ: Mapping[str, str] | None = None,
) -> Pair:
    """Run both commands in turn, once without counting; both must succeed."""
    pair = Pair([], [])
    for count in range(runs + 1):
        for command, seconds in ((one, pair.one_s), (other, pair.other_s)):
            taken = seconds_of(command, cwd, environ)
            if count:
                seconds.append(taken)
    return pair


def seconds_of(command: Sequence[str], cwd: Path, environ: Mapping[str, str] | None) -> float:
    began = time.perf_counter()
    subprocess.run(
        command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return time.perf_counter() - began
