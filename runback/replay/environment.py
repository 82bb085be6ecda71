"""Find the recorded environment, or the nearest one that is to be had, and make it ready."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture import packages
from runback.errors import RecordError
from runback.launch import engine, image, kind, venv
from runback.launch.progress import Progress
from runback.record import files
from runback.replay.errors import CannotReplay
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runback.launch.engine import Engine
    from runback.replay.original import Original

AUTO, HERE, LOCK, IMAGE = "auto", "here", "lock", "image"
CHOICES = (AUTO, HERE, LOCK, IMAGE)
DOCKERFILE, REQUIREMENTS = "docker/Dockerfile", "requirements.txt"
# Tools that are no part of a training, and the tool that asks.
_BESIDE = {"pip", "runback", "setuptools", "uv", "wheel"}
_DESCRIBE = (
    "import json; from runback.capture import packages; print(json.dumps(packages.describe()))"
)
_ANSWER_WITHIN_S = 60


@dataclass(frozen=True)
class Environment:
    """Where a replay runs. kind: HERE, LOCK or IMAGE. python: the program that is started.

    facts: what packages.describe() tells of it; None: not known before it has run. image:
    id or name of the one to run in. said: what it is, in words. is_ready: nothing has
    to be built, made or downloaded first.
    """

    kind: str
    python: str
    said: str
    facts: Mapping[str, Any] | None = None
    engine: Engine | None = None
    image: str = ""
    is_ready: bool = True


@dataclass(frozen=True)
class Surroundings:
    """What an environment is chosen from.

    path: PATH. cache: where environments are kept. engine: auto, docker, podman or venv
    (none). image_id: of the image that this process runs in, "". build_args, engine_args:
    more arguments of the engine's `build` and `run`.
    """

    path: str | None
    cache: Path
    engine: str = "auto"
    image_id: str = ""
    build_args: tuple[str, ...] = ()
    engine_args: tuple[str, ...] = ()


def choose(original: Original, wanted: str, around: Surroundings) -> Environment:
    """Return the recorded environment, or what comes nearest to it. Raises CannotReplay."""
    recorded = part(original.manifest, "environment")
    here = _here()
    if wanted == HERE:
        return here
    if wanted in (AUTO, IMAGE) and recorded.get("image"):
        if around.image_id == recorded["image"]:
            return replace(here, said="this container, of the recorded image")
        if found := _image(original, str(recorded["image"]), around):
            return found
    if wanted == IMAGE:
        raise CannotReplay(original.id, _no_image(recorded), "runback replay … --environment auto")
    if wanted == AUTO and is_same(recorded, here.facts or {}):
        return replace(here, said="the one that runs this: it has the recorded packages")
    if wanted == AUTO and (own := _own(original, recorded)):
        return own
    if is_locked(original):
        return _project(original) or _of_lock(original, around)
    if wanted == LOCK:
        raise CannotReplay(
            original.id, "no lock is in its record", "runback replay … --environment here"
        )
    return replace(here, said="the one that runs this: no lock is in the record")


def prepare(
    chosen: Environment, original: Original, code: Path, around: Surroundings
) -> Environment:
    """Build the image, or make the virtual environment, from the recorded files in `code`.

    Raises ImageError, EnvironmentFailed (which package), EnvironmentMissing, DiskFull.
    """
    if chosen.is_ready:
        return chosen
    if chosen.kind == IMAGE and chosen.engine:
        image.build(chosen.engine, code, chosen.image, around.build_args, _environ(around))
        return replace(chosen, is_ready=True)
    root, which = lock_folder(original, around), lock_kind(original)
    for name in which.files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((code / name).read_bytes())
    venv.ensure(root, which, Progress())
    python = str(venv.python(root, which))
    return replace(chosen, python=python, facts=_described(python), is_ready=True)


def is_same(recorded: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Say whether two environments have the same Python and the same packages, file lists too."""
    return recorded.get("python") == facts.get("python") and _packages(recorded) == _packages(facts)


def is_locked(original: Original) -> bool:
    """Say whether the record has the lock that its environment was made from."""
    recorded = part(original.manifest, "environment")
    return bool(recorded.get("lock")) and REQUIREMENTS in original.code.files


def _packages(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = facts.get("packages")
    known = found if isinstance(found, dict) else {}
    return {name: version for name, version in known.items() if name not in _BESIDE}


def _here() -> Environment:
    return Environment(HERE, sys.executable, "the one that runs this", packages.describe())


def _own(original: Original, recorded: Mapping[str, Any]) -> Environment | None:
    """Return the interpreter that ran it, if it is still there and as it was.

    Never one that a stranger's record names: that would be to run any program.
    """
    python = recorded.get("executable")
    if not original.is_own or not isinstance(python, str) or not Path(python).is_file():
        return None
    facts = _described(python)
    if facts is None or not is_same(recorded, facts):
        return None
    return Environment(HERE, python, f"{python}, which ran it: it has the recorded packages", facts)


def _described(python: str) -> dict[str, Any] | None:
    ours = str(Path(__file__).resolve().parents[2])
    try:
        done = subprocess.run(
            [python, "-c", f"import sys; sys.path.append({ours!r}); {_DESCRIBE}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_WITHIN_S,
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return found if isinstance(found, dict) else None


def _image(original: Original, recorded: str, around: Surroundings) -> Environment | None:
    """Return the recorded image; if it is gone, the one that its Dockerfile and lock build."""
    if around.engine == "venv":
        return None
    found = engine.find(around.engine, around.path)
    if isinstance(found, engine.Absent):
        return None
    if image.exists(found, recorded):
        said = f"{found.name} {found.version}, the recorded image {recorded[:19]}"
        return Environment(IMAGE, "python", said, engine=found, image=recorded)
    if not {DOCKERFILE, REQUIREMENTS} <= original.code.files.keys():
        return None
    name = f"runback-replay:{_key(original, (DOCKERFILE, *_locks(original)))}"
    said = (
        f"{found.name} {found.version}, an image built again from the recorded Dockerfile and lock"
    )
    there = image.exists(found, name)
    return Environment(IMAGE, "python", said, engine=found, image=name, is_ready=there)


def _no_image(recorded: Mapping[str, Any]) -> str:
    if not recorded.get("image"):
        return "it was not run in a container"
    return f"its image {recorded['image']} is not here, and no engine answers that could build it"


def _project(original: Original) -> Environment | None:
    """Return the project's own .venv, if it was made from the recorded lock: a run of a server."""
    which = lock_kind(original)
    for root in (original.root, Path(__file__).resolve().parents[2]):
        is_lock = all(_digest(root / name) == original.code.files[name] for name in which.files)
        if is_lock and venv.is_ready(root, which):
            python = str(venv.python(root, which))
            said = f"{root / which.folder}, made from the recorded lock"
            return Environment(LOCK, python, said, _described(python))
    return None


def _digest(path: Path) -> str:
    try:
        return str(files.digest(path)["digest"])
    except RecordError:
        return ""


def _of_lock(original: Original, around: Surroundings) -> Environment:
    root, which = lock_folder(original, around), lock_kind(original)
    said = f"a virtual environment made from the recorded lock, in {root}"
    there = venv.is_ready(root, which) if all((root / n).exists() for n in which.files) else False
    python = str(venv.python(root, which))
    return Environment(LOCK, python, said, _described(python) if there else None, is_ready=there)


def lock_folder(original: Original, around: Surroundings) -> Path:
    """Return where the environment of the recorded lock is kept, whoever uses it."""
    key = _key(original, lock_kind(original).files)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return around.cache / "environments" / f"{key}-py{version}"


def lock_kind(original: Original) -> kind.Kind:
    """Return which environment the lock became: with torch's CPU build, if that was recorded."""
    packages = part(part(original.manifest, "environment"), "packages")
    has_overlay = kind.FULL_CPU.overlay in original.code.files
    if has_overlay and "+cpu" not in str(packages.get("torch")):
        return kind.FULL_CUDA
    return kind.FULL_CPU if has_overlay else replace(kind.FULL_CPU, overlay="", replaced="(?!)")


def _locks(original: Original) -> list[str]:
    names = original.code.files
    return [name for name in names if name == REQUIREMENTS or _is_lock(name)]


def _is_lock(name: str) -> bool:
    return name.startswith("docker/") and name.endswith(".txt")


def _key(original: Original, names: tuple[str, ...] | list[str]) -> str:
    """Return what names an environment: the digests of the files that it is made from."""
    import hashlib

    lines = [f"{name} {original.code.files[name]}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def _environ(around: Surroundings) -> dict[str, str]:
    import os

    return {**os.environ, "PATH": around.path or os.defpath}
