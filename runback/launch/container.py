"""Word the command that runs a command in a container as if it ran on the host."""

from __future__ import annotations

import contextlib
import csv
import getpass
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runback.errors import RunbackError
from runback.git import top_level
from runback.launch.inside import origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runback.launch.engine import Engine

# Variables that change a training or how it is shown; others stay on the host,
# secrets among them. RUNBACK_ENGINE_ARGS="--env NAME" hands over one more.
PASSED = (
    *("COLORTERM", "FORCE_COLOR", "LANG", "LC_ALL", "NO_COLOR", "TERM", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "DO_NOT_TRACK", "PYTHONHASHSEED"),
    "XLA_FLAGS",
    *("RUNBACK_DATA", "RUNBACK_HOST", "RUNBACK_IMAGE_ID", "RUNBACK_LEDGER", "RUNBACK_RECORD"),
    *("RUNBACK_REPLAY", "RUNBACK_REPLAY_ATTEMPT", "RUNBACK_REPLAY_FROM"),
    *("DVC_EXP_BASELINE_REV", "DVC_EXP_NAME", "DVC_ROOT", "DVC_STAGE"),
)
# A mount over one of these, or over a folder that holds them, leaves no container.
SYSTEM_FOLDERS = ("/opt/venv", "/usr/bin", "/etc/passwd", "/bin", "/lib", "/proc", "/sys", "/dev")
PASSED_PREFIXES = (
    "ATEN_",
    "DNNL_",
    "KERAS_",
    "MKL_",
    "MLFLOW_",
    "NCCL_",
    "NPY_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PYTORCH_",
    "TF_",
    "TORCH_",
)


@dataclass(frozen=True)
class Caller:
    """Who runs the command, and from where.

    cwd, home: absolute, without symbolic links; `home` is where the container's
    home lies on the host, so that downloads and caches outlive it.
    stdin: whether input can reach the command; terminal: whether all three
    streams are one terminal, in the foreground.
    """

    uid: int
    gid: int
    user: str
    cwd: Path
    home: Path
    stdin: bool
    terminal: bool
    groups: tuple[int, ...] = ()


def run_command(
    engine: Engine,
    image: str,
    root: Path,
    caller: Caller,
    environ: Mapping[str, str],
    gpu: bool,
    extra: Sequence[str],
    command: Sequence[str],
    folders: Sequence[Path] = (),
) -> list[str]:
    """Return the `docker run` or `podman run` that runs `command` in `image`.

    folders: that it sees besides the project, its repository and the working directory.
    """
    return [
        *(engine.program, "run", "--rm"),
        *(["--interactive"] if caller.stdin else []),
        *(["--tty"] if caller.terminal else []),
        *(engine.gpu if gpu else ()),
        *_user(engine, caller),
        *_mounts(root, caller, folders),
        *("--workdir", str(caller.cwd)),
        *_variables(caller, environ),
        # torch's data-loader workers hand batches over in /dev/shm; the engine's 64 MB are too few.
        *("--shm-size", "8g"),
        *extra,
        image,
        *("python", str(root / "runback" / "launch" / "inside.py"), *command),
    ]


def _user(engine: Engine, caller: Caller) -> list[str]:
    """Make what is written on the host the caller's, never root's."""
    if engine.rootless and engine.name == "podman":
        return ["--userns=keep-id", "--user", f"{caller.uid}:{caller.gid}", *_no_selinux_labels()]
    if engine.rootless:
        # Rootless Docker has no keep-id: there, root inside is the caller outside.
        return ["--user", "0:0"]
    user = ["--user", f"{caller.uid}:{caller.gid}"]
    # The data of a team is often readable to a group only.
    user += [word for group in caller.groups for word in ("--group-add", str(group))]
    return user + (_no_selinux_labels() if engine.selinux or engine.name == "podman" else [])


def _no_selinux_labels() -> list[str]:
    # Relabelling a project for one container would lock other programs out of it.
    return ["--security-opt", "label=disable"]


def _mounts(root: Path, caller: Caller, more: Sequence[Path]) -> list[str]:
    root = _repository(origin(root))
    folders = [root, caller.home]
    if git := _git_folder_elsewhere(root):
        folders.append(git)
    if not _is_within(caller.cwd, root):
        folders.insert(0, caller.cwd)  # an outer folder first, so that it hides none
    folders += [folder for folder in more if not _is_within(folder, root)]
    return [word for folder in dict.fromkeys(folders) for word in ("--mount", bind(folder))]


def _repository(project: Path) -> Path:
    """Return the repository that the project is a part of: git looks above, and at its owner.

    Not one that holds the user's home, as some keep theirs in git, or what a container needs.
    """
    top = top_level(project) or project
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises without one
    is_too_wide = any(_is_within(Path(folder), top) for folder in (home, *SYSTEM_FOLDERS))
    return project if is_too_wide else top


def bind(folder: Path) -> str:
    """Return a --mount value; the engine reads it as CSV, so commas and quotes are quoted."""
    fields = io.StringIO()
    row = ["type=bind", f"source={folder}", f"target={folder}"]
    csv.writer(fields, lineterminator="").writerow(row)
    return fields.getvalue()


def _git_folder_elsewhere(root: Path) -> Path | None:
    """Return the repository's own folder where the project is a worktree or a submodule."""
    pointer = root / ".git"
    if not pointer.is_file():
        return None
    target = Path(pointer.read_text().partition("gitdir:")[2].strip())
    gitdir = target if target.is_absolute() else (root / target).resolve()
    common = gitdir / "commondir"
    if common.is_file():
        gitdir = (gitdir / common.read_text().strip()).resolve()
    return gitdir if gitdir.is_dir() and not _is_within(gitdir, root) else None


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _variables(caller: Caller, environ: Mapping[str, str]) -> list[str]:
    passed = [
        name for name in sorted(environ) if name in PASSED or name.startswith(PASSED_PREFIXES)
    ]
    # A name without a value is read from our own environment: no secret in `ps`.
    words = [word for name in passed for word in ("--env", name)]
    # getpass.getuser(), which MLflow and torch call, must not need a passwd entry.
    fixed = {"HOME": str(caller.home), "USER": caller.user, "LOGNAME": caller.user}
    return words + [word for name, value in fixed.items() for word in ("--env", f"{name}={value}")]


def with_origin(environ: Mapping[str, str], image_id: str) -> dict[str, str]:
    """Return the variables with what a container cannot find out: its machine and its image.

    The name that it has itself is drawn anew for each.
    """
    host = environ.get("RUNBACK_HOST") or os.uname().nodename
    return {**environ, "RUNBACK_HOST": host, "RUNBACK_IMAGE_ID": image_id}


def uses_host_network(extra: Sequence[str]) -> bool:
    """Say whether the engine's extra arguments put the container on the host's network."""
    joined = " ".join(extra).replace("=", " ")
    return "--network host" in joined or "--net host" in joined


def this_caller(root: Path, cwd: Path) -> Caller:
    """Return who runs this in `cwd`, with a home for the container that is there.

    Raises RunbackError in a folder that cannot be mounted in a container.
    """
    if any(_is_within(Path(folder), cwd) for folder in SYSTEM_FOLDERS):
        raise RunbackError(
            f"the folder {cwd} cannot be mounted in a container, whose own it would hide",
            "cd to the project",
        )
    return Caller(
        uid=os.getuid(),
        gid=os.getgid(),
        user=_user_name(),
        cwd=cwd,
        home=_home(root),
        groups=tuple(sorted(set(os.getgroups()) - {os.getgid()})),
        stdin=sys.stdin is not None and (not sys.stdin.isatty() or _is_foreground(0)),
        terminal=_is_terminal(),
    )


def _home(root: Path) -> Path:
    """Return the container's home: in the caller's cache, or in the project without one."""
    # expanduser: a uid without HOME and passwd entry keeps its "~", and gets the second place.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    places = (Path(cache) / "runback" / "home", root / ".runback" / "home")
    for home in filter(Path.is_absolute, places):
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)  # the engine would make it root's
            return home.resolve()
    raise RunbackError(f"neither {cache} nor {root} can be written: the container needs a home")


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a passwd entry
        return f"uid{os.getuid()}"


def _is_terminal() -> bool:
    """Say whether stdin, stdout and stderr are a terminal that we may read."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams) and _is_foreground(0)


def _is_foreground(terminal: int) -> bool:
    """Say whether this process may read the terminal; one in the background would be stopped."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
