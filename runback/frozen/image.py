"""Take an image out of its engine, as an archive that every engine loads, and put it back."""

from __future__ import annotations

import contextlib
import json
import posixpath
import subprocess
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, Any, cast

from runback.errors import ImageError
from runback.frozen.contents import IMAGE
from runback.frozen.errors import ArchiveDamaged
from runback.frozen.source import Careful
from runback.launch import image
from runback.record.archive import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.frozen.source import Source
    from runback.launch.engine import Engine

# What an engine reads the names of images from.
_INDEXES = ("manifest.json", "index.json", "repositories")
_LARGEST_INDEX_BYTES = 4_000_000
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def saved(engine: Engine, image_id: str) -> Iterator[bytes]:
    """Yield the image as the engine saves it. By its id: without its names. Raises ImageError."""
    with tempfile.TemporaryFile() as said:
        command = [engine.program, "save", image_id]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as process:
            assert process.stdout is not None
            while block := process.stdout.read(BLOCK_BYTES):
                yield block
        _refuse(engine, "save", image_id, process.returncode, said)


def load(engine: Engine, image_id: str, source: Source) -> None:
    """Give the engine the image of an archive. Raises ArchiveDamaged, ImageError.

    One that has names is refused: loaded, it would take the place of whatever has them here.
    """
    _refuse_names(source)
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            [engine.program, "load"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        ) as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                for block in source.blocks(IMAGE):
                    pipe.write(block)
        _refuse(engine, "load", image_id, process.returncode, said)
    if not image.exists(engine, image_id):
        raise ImageError(image_id[:19], f"{engine.name} load", 0, "it loaded another image", "")


def _refuse(engine: Engine, verb: str, image_id: str, status: int, said: IO[bytes]) -> None:
    if status:
        said.seek(0)
        lines = said.read(BLOCK_BYTES).decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no output"
        raise ImageError(image_id[:19], f"{engine.name} {verb}", status, last, "df -h")


def _refuse_names(source: Source) -> None:
    """Raise ArchiveDamaged unless the archive is of one image without a name."""
    count = 0
    try:
        with source.open(IMAGE) as file:
            plain = cast("IO[bytes]", Careful(file))
            with tarfile.open(fileobj=plain, mode="r:") as tar:
                for member in tar:
                    name = posixpath.basename(posixpath.normpath(member.name))
                    if name in _INDEXES:
                        count += name != "repositories"
                        _refuse_named(name, tar, member)
        if not count:
            raise ValueError("is no archive of an image")
    except (tarfile.TarError, ValueError, RecursionError) as error:
        raise ArchiveDamaged(source.path, IMAGE, str(error)) from error


def _refuse_named(name: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Raise ValueError if an index of images is no plain file, nonsense, or names them."""
    file = tar.extractfile(member) if member.isreg() else None
    if file is None or member.size > _LARGEST_INDEX_BYTES:
        raise ValueError(f"has no plain {member.name!r}")
    try:
        found = _names(name, json.loads(file.read()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"has nonsense in {member.name!r}") from error
    if found:
        raise ValueError(f"names the image: {found}"[:200])


def _names(name: str, index: Any) -> list[Any]:
    """Return the names that an index of images gives them."""
    if name == "manifest.json":
        return [tag for entry in index for tag in entry.get("RepoTags") or ()]
    if name == "index.json":
        entries = index.get("manifests") or ()
        notes = [entry.get("annotations") or {} for entry in entries]
        return [note[key] for note in notes for key in _NAMES if note.get(key)]
    return list(index)
