"""Plan the replay of a frozen run, with nothing but what was frozen with it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from runback.frozen import image, lock, thaw
from runback.frozen.contents import WHEELS
from runback.frozen.errors import OtherPython
from runback.frozen.source import opened
from runback.launch import engine, venv
from runback.launch import image as images
from runback.launch.progress import Progress
from runback.locked import locked
from runback.replay import environment
from runback.replay.environment import AUTO, IMAGE, LOCK
from runback.replay.original import part, read
from runback.replay.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from runback.frozen.contents import Contents
    from runback.frozen.source import Source
    from runback.replay.environment import Surroundings
    from runback.replay.original import Original
    from runback.replay.plan import Plan, Wish

    Tell = Callable[[str], None]

# Unpacked, installed, and compiled, a wheel takes so many times its size.
_UNPACKED = 5


def planned(
    path: Path,
    store: Path,
    wish: Wish,
    around: Surroundings,
    environ: Mapping[str, str],
    tell: Tell,
    is_dry: bool = False,
) -> Plan:
    """Unpack a frozen run, make its environment ready, and plan its replay.

    store: the folder in whose `replays/` it gets a store of its own. is_dry: neither load
    an image nor install anything. Raises NotFrozen, ArchiveDamaged, NoRoom, OtherPython,
    ImageError, EnvironmentFailed, and what `plan` does.
    """
    with opened(path) as source:
        root = thaw.place(store, source.contents)
        with locked(root / ".runback" / "thaw.lock"):
            thaw.thaw(source, root, tell)
            original = read(root, source.contents.run_id)
            around = _arranged(source, original, wish.environment, around, tell, is_dry)
        data = {**_data(source.contents, root, tell), **wish.data}
    return plan(root, original.id, replace(wish, data=data), around, environ)


def _data(contents: Contents, root: Path, tell: Tell) -> dict[str, Path]:
    """Return where data is, by its recorded path."""
    found = {name: root / about["at"] for name, about in contents.data.items() if "at" in about}
    for name, path in found.items():
        if os.path.isabs(name) and not os.path.lexists(name):  # noqa: PTH117
            tell(f"the training looks for data at {name}: ln -s {path} {name}")
    return found


def _arranged(
    source: Source,
    original: Original,
    wanted: str,
    around: Surroundings,
    tell: Tell,
    is_dry: bool,
) -> Surroundings:
    """Make the environment of the archive one that `plan` finds; return from what to choose."""
    recorded = str(part(original.manifest, "environment").get("image") or "")
    asks = wanted in (AUTO, IMAGE) and recorded and around.image_id != recorded
    if asks and _has_image(source, recorded, around, tell, is_dry):
        return around
    if wanted not in (AUTO, LOCK) or not source.contents.below(WHEELS):
        return around
    # With the wheels at hand, no image is built from what registries may not have any more.
    around = replace(around, engine="venv")
    chosen = environment.choose(original, wanted, around)
    if chosen.kind == LOCK and not chosen.is_ready and not is_dry:
        _install(source, original, around, tell)
    return around


def _has_image(
    source: Source, recorded: str, around: Surroundings, tell: Tell, is_dry: bool
) -> bool:
    """Say whether an engine has the recorded image, after it was loaded from the archive."""
    if around.engine == "venv":
        return False
    found = engine.find(around.engine, around.path)
    if isinstance(found, engine.Absent):
        if source.contents.image:
            tell(f"the image in {source.path} is of no use here: {found}")
        return False
    if images.exists(found, recorded):
        return True
    if source.contents.image != recorded or is_dry:
        return False
    tell(f"loading the image {recorded[:19]} from {source.path}")
    image.load(found, recorded, source)
    return True


def _install(source: Source, original: Original, around: Surroundings, tell: Tell) -> None:
    """Make the virtual environment of the lock from the archive's wheels alone."""
    recorded, here = lock.minor(source.contents.python), lock.here()
    if recorded != here:
        raise OtherPython(source.path, recorded, here)
    folder, which = environment.lock_folder(original, around), environment.lock_kind(original)
    wheels = original.root / WHEELS
    lock.write(original, folder)
    try:
        thaw.write(source, original.root, source.contents.below(WHEELS), tell)
        needed = _UNPACKED * source.contents.size_bytes(WHEELS)
        venv.ensure(folder, replace(which, needed_bytes=needed), Progress(), wheels=wheels)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
