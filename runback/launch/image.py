"""Name the image by what it is made from, and build it when there is none."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import DiskFull, ImageError
from runback.locked import locked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runback.launch.engine import Engine

NEEDED_BYTES = 26_000_000_000  # 13.5 GB of image, and 12.5 of the build's cache
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def lock_digest(root: Path) -> str:
    """Return the digest of requirements.txt, as the image's label and stamp carry it."""
    return "sha256:" + hashlib.sha256((root / "requirements.txt").read_bytes()).hexdigest()


def tag(root: Path, build_args: Sequence[str] = ()) -> str:
    """Return the image's name: `runback:` and 12 digits of what it is made from.

    The same Dockerfile, locks and build arguments have the same name in every project.
    """
    whole = hashlib.sha256()
    for path in _ingredients(root):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        whole.update(content)
    whole.update("\0".join(build_args).encode())
    return f"runback:{whole.hexdigest()[:12]}"


def _ingredients(root: Path) -> list[Path]:
    """Return the Dockerfile and the locks that it names."""
    dockerfile = root / "docker" / "Dockerfile"
    text = dockerfile.read_text()
    locks = [lock for lock in sorted((root / "docker").glob("*.txt")) if lock.name in text]
    return [dockerfile, root / "requirements.txt", *locks]


def identity(engine: Engine, image: str) -> str:
    """Return the image's id, `sha256:` and hex, or "" if the engine has none of that name."""
    command = [engine.program, "image", "inspect", "--format", "{{.Id}}", image]
    done = subprocess.run(command, capture_output=True, text=True)
    found = done.stdout.strip() if done.returncode == 0 else ""
    return f"sha256:{found}" if re.fullmatch("[0-9a-f]{64}", found) else found  # podman: hex alone


def exists(engine: Engine, image: str) -> bool:
    """Say whether the engine has the image."""
    return bool(identity(engine, image))


def build_command(
    engine: Engine,
    root: Path,
    image: str,
    build_args: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the command that builds the image from the project folder."""
    environ = environ or {}
    return [
        *(engine.program, "build", "--file", str(root / "docker" / "Dockerfile")),
        *("--tag", image, "--build-arg", f"LOCK_DIGEST={lock_digest(root)}"),
        # Without a value: the engine reads them from our environment, as BuildKit knows them.
        *(word for name in PROXIES if name in environ for word in ("--build-arg", name)),
        *build_args,
        str(root),
    ]


def build(
    engine: Engine, root: Path, image: str, build_args: Sequence[str], environ: dict[str, str]
) -> None:
    """Build the image unless somebody else just has; its output goes to the terminal's stderr.

    Raises DiskFull before it begins, ImageError when it fails.
    """
    _check_room(engine)
    command = build_command(engine, root, image, build_args, environ)
    with locked(_build_lock(root)):
        if exists(engine, image):
            return
        # Debian's and Ubuntu's docker.io build with BuildKit only when told to.
        built = subprocess.run(
            command,
            env={**environ, "DOCKER_BUILDKIT": "1"},
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=None,
        )
    if built.returncode:
        reason, hint = _explain(engine)
        raise ImageError(image, f"{engine.name} build", built.returncode, reason, hint)


def _build_lock(root: Path) -> Path:
    return root / ".runback" / "image.lock"


def _explain(engine: Engine) -> tuple[str, str]:
    """Return why a build fails before its first step where we know, and what helps."""
    if engine.name == "docker" and not _has_buildkit(engine):
        return (
            "this docker command cannot use BuildKit",
            "apt-get install docker-buildx   # from Docker's own repository: docker-buildx-plugin",
        )
    return "its output is above", f"{engine.name} system df shows the disk it uses"


def _has_buildkit(engine: Engine) -> bool:
    """Say whether the client builds with BuildKit: by itself until 22, by buildx from 23."""
    asked = [engine.program, "version", "--format", "{{.Client.Version}}"]
    version = subprocess.run(asked, capture_output=True, text=True).stdout
    if version.split(".")[0].isdigit() and int(version.split(".")[0]) < 23:
        return True
    return (
        subprocess.run([engine.program, "buildx", "version"], capture_output=True).returncode == 0
    )


def _check_room(engine: Engine) -> None:
    """Raise DiskFull where the engine's own folder can be seen and is too small."""
    if not engine.storage:
        return
    try:
        free = shutil.disk_usage(engine.storage).free
    except OSError:  # a remote engine, or a folder we may not look at
        return
    if free < NEEDED_BYTES:
        raise DiskFull(Path(engine.storage), free, NEEDED_BYTES, "the image")
