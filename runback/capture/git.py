"""Ask git what a project's files are, and which commit they come from; change nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture.command import without_credentials
from runback.git import ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIRTY_MAX = 200
GITLINK = b"160000"


@dataclass(frozen=True)
class Listing:
    """What git knows of a folder, by paths relative to it.

    tracked: with whether git has it as executable. complete: whether git found the
    untracked files in time.
    """

    tracked: dict[str, bool] = field(default_factory=dict)
    untracked: list[str] = field(default_factory=list)
    submodules: dict[str, str] = field(default_factory=dict)
    complete: bool = True


def listing(root: Path) -> Listing | None:
    """Return the files that git tracks or would track; None if git cannot be asked."""
    command = ("ls-files", "-z", "-t", "--stage", "--cached")
    if (output := ask(root, *command, "--others", "--exclude-standard")) is not None:
        return _parsed(root, output, True)
    # Looking for untracked files can take minutes, where data lies among the code.
    output = ask(root, *command)
    return None if output is None else _parsed(root, output, False)


def facts(root: Path, top: Path, found: Listing) -> dict[str, Any]:
    """Return commit, branch, submodules and which tracked files are dirty.

    dirty is None where git took too long to say; it does not count untracked files.
    """
    head, dirty = _status(root, top)
    return {
        "commit": head.get("branch.oid"),
        "branch": head.get("branch.head"),
        "dirty": None if dirty is None else bool(dirty),
        "dirty_files": dirty or [],
        "submodules": found.submodules,
    }


def settings(root: Path) -> dict[str, str]:
    """Return the settings of the repository that matter here; the first of each name."""
    pattern = r"^(core\.filemode|remote\..*\.url)$"
    output = ask(root, "config", "-z", "--get-regexp", pattern) or b""
    found = dict[str, str]()
    for line in filter(None, output.split(b"\0")):
        name, _, value = os.fsdecode(line).partition("\n")
        found.setdefault(name, value)
    return found


def keeps_modes(settings: Mapping[str, str]) -> bool:
    """Say whether the file system tells executable files from others."""
    return settings.get("core.filemode", "true") not in ("false", "no", "off", "0")


def remote(settings: Mapping[str, str]) -> str | None:
    """Return the address of origin, or of another remote, without user and password."""
    urls = [url for name, url in settings.items() if name.startswith("remote.")]
    url = settings.get("remote.origin.url") or next(iter(urls), "")
    return without_credentials(url) or None


def not_exported(root: Path, top: Path, paths: Sequence[str]) -> set[str]:
    """Return those of the paths that have the attribute export-ignore, or lie in such a folder."""
    if not _mentions_export(root, top, paths):
        return set()
    folders = {f"{parent}/" for path in paths for parent in _parents(path)}
    names = b"\0".join(os.fsencode(name) for name in (*paths, *sorted(folders)))
    output = ask(root, "check-attr", "-z", "--stdin", "export-ignore", stdin=names + b"\0")
    words = (output or b"").split(b"\0")
    marked = {os.fsdecode(n) for n, v in zip(words[::3], words[2::3], strict=False) if v == b"set"}
    return {p for p in paths if p in marked or any(f"{up}/" in marked for up in _parents(p))}


def _parsed(root: Path, output: bytes, complete: bool) -> Listing:
    """Read `H MODE ID STAGE<tab>path` (a conflict's path comes thrice) and `? path`."""
    found = Listing(complete=complete)
    for entry in filter(None, output.split(b"\0")):
        if entry.startswith(b"? "):
            found.untracked.append(os.fsdecode(entry[2:]))
            continue
        about, _, name = entry.partition(b"\t")
        _tag, mode, commit, _stage = about.split(b" ")
        path = os.fsdecode(name)
        if mode == GITLINK:
            found.submodules[path] = _checked_out(root / path) or commit.decode()
        else:
            found.tracked[path] = mode == b"100755"
    return found


def _checked_out(submodule: Path) -> str:
    """Return the commit that lies there, which need not be the one that was recorded."""
    if not (submodule / ".git").exists():
        return ""
    return (ask(submodule, "rev-parse", "--verify", "--quiet", "HEAD") or b"").decode().strip()


def _status(root: Path, top: Path) -> tuple[dict[str, str], list[str] | None]:
    """Return commit and branch, where there are, and the tracked files that differ."""
    command = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=no")
    output = ask(root, *command, "--no-renames", "--", ".")
    if output is None:
        commit = ask(root, "rev-parse", "--verify", "--quiet", "HEAD") or b""
        return ({"branch.oid": commit.decode().strip()} if commit else {}), None
    entries = [entry for entry in output.split(b"\0") if entry]
    headers = [os.fsdecode(entry[2:]).partition(" ") for entry in entries if entry[:1] == b"#"]
    head = {name: value for name, _, value in headers if not value.startswith("(")}
    prefix = root.relative_to(top).as_posix() + "/"
    # Fields before the path: 8 of a change, 10 of a conflict.
    parts = [entry.split(b" ", 10 if entry[:1] == b"u" else 8) for entry in entries]
    changed = [os.fsdecode(words[-1]) for words in parts if words[0] in (b"1", b"u")]
    return head, sorted(path.removeprefix(prefix) for path in changed)


def _mentions_export(root: Path, top: Path, paths: Sequence[str]) -> bool:
    """Say whether an attributes file speaks of export-ignore: most projects have none."""
    above = [root, *root.parents]
    files = [place / ".gitattributes" for place in above[: above.index(top) + 1]]
    files += [root / path for path in paths if path.endswith("/.gitattributes")]
    return any(_holds(file, b"export-ignore") for file in (*files, top / ".git/info/attributes"))


def _holds(file: Path, word: bytes) -> bool:
    try:
        return word in file.read_bytes()
    except OSError:
        return False


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
