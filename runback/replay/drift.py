"""A drift: what is otherwise now than when the run was recorded."""

from __future__ import annotations

from dataclasses import dataclass

CODE, DATA, RECORD = "code", "data", "record"
PYTHON, PACKAGE, LIBRARY, IMAGE, SYSTEM = "python", "package", "library", "image", "system"
VARIABLE, THREADS, SEED = "variable", "threads", "seed"
CPU, CORES, GPU, DRIVER, NUMERICS = "cpu", "cores", "gpu", "driver", "numerics"


@dataclass(frozen=True)
class Drift:
    """A difference between what was recorded and what a replay meets.

    kind: one of those above. name: of the file, package, variable; "" for the only one.
    recorded, now: in words, None where there is none. restored: the replay runs with
    what was recorded, so that this cannot be why it came out differently.
    """

    kind: str
    name: str
    recorded: str | None
    now: str | None
    restored: bool = False
