"""Choose what is frozen of a run's environment: its image, or the wheels of its lock."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.frozen import image, lock
from runback.frozen.contents import IMAGE
from runback.frozen.errors import CannotFreeze
from runback.launch import engine
from runback.launch import image as images
from runback.replay.environment import is_locked
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runback.frozen.sink import Sink
    from runback.launch.engine import Engine
    from runback.replay.original import Original


@dataclass(frozen=True)
class Environment:
    """What is frozen of it. engine: which has the image, None where that is not frozen.

    image: its id, "" likewise. left_out: what is not frozen, and why.
    """

    engine: Engine | None
    image: str
    wheels: bool
    left_out: dict[str, str]


def choose(
    original: Original, wants_image: bool | None, wants_wheels: bool | None, choice: str
) -> Environment:
    """Return what is wanted and can be had; None: the image, else the wheels.

    choice: auto, docker, podman or venv (no engine). Raises CannotFreeze.
    """
    recorded = str(part(original.manifest, "environment").get("image") or "")
    found, why_not = _engine_with(recorded, wants_image, choice)
    if wants_image and not found:
        hint = f"runback freeze {original.id[:8]} --no-image   # the wheels of its lock"
        raise CannotFreeze(original.id, why_not, hint)
    has_wheels = wants_wheels if wants_wheels is not None else not found
    if has_wheels and not is_locked(original):
        _refuse(original, why_not if recorded else "")
    left_out = {"image": why_not} if recorded and not found else {}
    if not has_wheels and not found:
        left_out["wheels"] = "not wanted"
    return Environment(found, recorded if found else "", has_wheels, left_out)


def write(
    original: Original,
    chosen: Environment,
    sink: Sink,
    draft: Path,
    tell: Callable[[str], None],
) -> None:
    """Write image and wheels, as chosen. draft: a folder to work in.

    Raises ImageError, DownloadFailed.
    """
    if chosen.engine:
        tell(f"saving the image {chosen.image[:19]} from {chosen.engine.name}")
        sink.add(IMAGE, image.saved(chosen.engine, chosen.image), sink.place)
    if chosen.wheels:
        tell("downloading the wheels of the recorded lock")
        work = draft / ".work"
        work.mkdir()
        lock.freeze(original, work, sink)
        shutil.rmtree(work)


def _refuse(original: Original, why_no_image: str) -> None:
    reason = "the lock of its environment is not in its record"
    raise CannotFreeze(
        original.id,
        f"{why_no_image}, and {reason}" if why_no_image else reason,
        f"runback freeze {original.id[:8]} --no-wheels   # its packages by name and version alone",
    )


def _engine_with(recorded: str, is_wanted: bool | None, choice: str) -> tuple[Engine | None, str]:
    """Return the engine that has the image; or None, and why."""
    if not recorded:
        return None, "it was not run in a container"
    if is_wanted is False:
        return None, "not wanted"
    named = f"its image {recorded[:19]}"
    if choice == "venv":
        return None, f"{named} is not to be had: RUNBACK_ENGINE=venv"
    found = engine.find(choice)
    if isinstance(found, engine.Absent):
        return None, f"{named} is not to be had here ({found})"
    if not images.exists(found, recorded):
        return None, f"{named} is gone from {found.name}"
    return found, ""
