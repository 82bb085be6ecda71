"""Take the code as it is: every file that git tracks or would track, and what was left out."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from runback.capture import git, leaving, replayed
from runback.capture.reading import CodeFile, Reader
from runback.dvc import stages
from runback.git import TIMEOUT_S, top_level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CodeFile", "Snapshot", "describe", "project_root", "take", "write_archive"]

MARKERS = ("pyproject.toml", "setup.py", "requirements.txt", "params.yaml", "mlflow.db")
CHECKOUTS = "checkouts"
RESULT = "a result, by dvc.yaml"


@dataclass(frozen=True)
class Snapshot:
    """A project's code by paths relative to its root, bytes that are no UTF-8 as surrogates.

    left_out: path (a folder's ends in a slash) and reason. git: commit, branch,
    dirty, dirty_files, remote, submodules; None where git cannot tell.
    """

    files: Mapping[str, CodeFile]
    left_out: dict[str, str]
    git: dict[str, Any] | None


def project_root(cwd: Path, script: Path | None) -> Path:
    """Return the folder of the project that is being run.

    The repository of the script's folder (of cwd, where there is no script, or it is
    an installed program), or else the nearest folder that looks like a project's, or
    else that folder itself. A checkout in there, or the code that a replay laid out, is a
    project of its own. Never the home directory or / because of what lies there.
    """
    script = script.resolve() if script else None
    folder = script.parent if script and not _is_installed(script) else cwd.resolve()
    if laid_out := replayed.root(folder):
        return laid_out
    too_wide = {Path(os.path.expanduser("~")).resolve(), Path("/")} - {folder}  # noqa: PTH111
    top, checkout = top_level(folder), _checkout(folder)
    if checkout and not (top and top.is_relative_to(checkout)):
        return checkout
    if top and top not in too_wide:
        return top
    for place in (folder, *folder.parents):
        if place in too_wide:
            break
        if any((place / marker).exists() for marker in MARKERS):
            return place
    return folder


def _checkout(folder: Path) -> Path | None:
    """Return the folder around this one that `runback checkout` made, which git ignores."""
    for place in (folder, *folder.parents):
        if place.parent.name == CHECKOUTS and (place.parent / ".gitignore").is_file():
            return place
    return None


def take(root: Path, since_ns: float = math.inf) -> Snapshot:
    """Read the code under `root` as it is now; raises nothing for what cannot be read.

    since_ns: when the run began; what it has written by now is left out.
    """
    root = root.resolve()
    if replayed.root(root) == root:
        return _read(Reader(root), replayed.files(root), tracked=True)
    top = top_level(root)
    found = git.listing(root) if top else None
    if top is None or found is None or not (found.tracked or found.untracked):
        paths, left_out = leaving.walk(root)
        return _read(Reader(root, since_ns, left_out=left_out), paths, tracked=False)
    reader, settings = Reader(root, since_ns), git.settings(root)
    _take_listed(reader, top, found, git.keeps_modes(settings))
    about = git.facts(root, top, found) | {"remote": git.remote(settings)}
    if about["dirty"] is not None:
        new = [path for path in found.untracked if path in reader.files]
        results = {path for path, why in reader.left_out.items() if why == RESULT}
        dirty_files = sorted({*about["dirty_files"], *new} - results)
        about |= {"dirty": bool(dirty_files), "dirty_files": dirty_files[: git.DIRTY_MAX]}
    return Snapshot(reader.files, reader.left_out, about)


def _read(reader: Reader, paths: Iterable[str], tracked: bool) -> Snapshot:
    """Read these files, where git has no say."""
    for path in paths:
        reader.add(path, tracked)
    return Snapshot(reader.files, reader.left_out, None)


def describe(snapshot: Snapshot, root: Path) -> dict[str, Any]:
    """Return what is in a snapshot, by digests; `digest` is that of the whole code.

    Two snapshots hold the same code where their digests agree, whatever compressed
    them. Names may hold surrogates: json.dumps writes them, and str.encode does not.
    """
    files = {path: snapshot.files[path].digest for path in sorted(snapshot.files, key=os.fsencode)}
    whole = hashlib.sha256()
    for path, digest in files.items():
        file = snapshot.files[path]
        kind = "link" if file.link else "executable" if file.executable else "file"
        whole.update(os.fsencode(path) + f"\0{kind}\0{digest}\n".encode())
    return {
        "root": str(root),
        "git": snapshot.git,
        "files": files,
        "left_out": snapshot.left_out,
        "digest": "sha256:" + whole.hexdigest(),
        "size_bytes": sum(len(file.data) for file in snapshot.files.values()),
    }


def write_archive(snapshot: Snapshot, target: BinaryIO) -> None:
    """Write the code as a tar.gz with the same bytes for the same code.

    No times, owners or order of a file system are in it. The tar inside is the same
    everywhere; the compression is zlib's, and another build of it may choose others.
    """
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0) as packed,
        tarfile.open(
            fileobj=packed,
            mode="w",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar,
    ):
        for path in sorted(snapshot.files, key=os.fsencode):
            file = snapshot.files[path]
            tar.addfile(_member(path, file), io.BytesIO(file.data))


def _member(path: str, file: CodeFile) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode = 0o755 if file.executable else 0o644
    member.size = len(file.data)
    if file.link:
        member.type, member.linkname, member.size = tarfile.SYMTYPE, file.link, 0
    return member


def _is_installed(script: Path) -> bool:
    """Say whether a program came with an environment, and is not of the project."""
    folders = {Path(sys.executable).parent, Path(os.__file__).resolve().parent}
    installed = {"site-packages", "dist-packages"} & set(script.parts)
    return bool(installed) or any(script.is_relative_to(folder) for folder in folders)


def _take_listed(reader: Reader, top: Path, found: git.Listing, modes: bool) -> None:
    """Read what git listed: tracked files first, then source, so that a limit spares them."""
    if not found.complete:
        reader.leave("…", f"untracked files: git took over {TIMEOUT_S:.0f} s to find them")
    for path in found.submodules:
        reader.leave(path + "/", "a submodule")
    hidden = leaving.environments(found.untracked)
    new = sorted(found.untracked, key=lambda path: (not leaving.is_source(path), path))
    for folder in (path for path in new if path.endswith("/")):
        reader.leave(folder, "a repository of its own")
    new = [path for path in new if not path.endswith("/") and not path.startswith(hidden)]
    reader.left_out.update({folder: "a virtual environment" for folder in hidden})
    private = git.not_exported(reader.root, top, [*found.tracked, *new])
    stage = os.environ.get("DVC_STAGE")
    results = stages.of_process(reader.root).results(stage) if stage else set[str]()
    for path in (*found.tracked, *new):
        if path in private:
            reader.leave(path, "export-ignore in .gitattributes")
        elif results and any(path == made or path.startswith(f"{made}/") for made in results):
            reader.leave(path, RESULT)
        else:
            # Where the file system has no modes, git's own are the true ones.
            executable = None if modes else found.tracked.get(path, False)
            reader.add(path, path in found.tracked, executable)
