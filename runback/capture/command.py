"""Tell how the training was started: words, folder, variables; never a secret."""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from runback.capture import loaded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

HIDDEN = "***"
# Variables that change a training or say where it runs. Of MLFLOW_ only harmless names:
# MLFLOW_TRACKING_TOKEN, _USERNAME and _PASSWORD begin like the others.
KEPT = {
    *("COLUMNS", "GLIBC_TUNABLES", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
    *("LANG", "LC_ALL", "TZ", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONPATH"),
    *("CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES"),
    *("NVIDIA_TF32_OVERRIDE", "NVIDIA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM"),
    *("SLURM_JOB_ID", "SLURM_PROCID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_PARENT_RUN_ID"),
    *("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_NAME"),
    *("MLFLOW_ENABLE_ASYNC_LOGGING", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"),
    *("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "MLFLOW_DISABLE_TELEMETRY"),
}
KEPT_PREFIXES = (
    *("ATEN_", "CUBLAS_", "CUDNN_", "KERAS_", "MKL_", "NCCL_", "OMP_", "OPENBLAS_"),
    *("PYTORCH_", "RUNBACK_", "TF_", "TORCH_", "XLA_"),
    *(
        "BLIS_",
        "DNNL_",
        "GOMP_",
        "JAX_",
        "KMP_",
        "NPY_",
        "NUMBA_",
        "NUMEXPR_",
        "ONEDNN_",
        "VECLIB_",
    ),
)
# Terraform's: they begin like TensorFlow's, and hold what they are given.
NEVER_PREFIXES = ("TF_VAR_", "TF_CLI_", "TF_REGISTRY_")

_SECRET = (
    r"(?:passw(?:or)?d|passphrase|secret|credential|token(?!i[sz])|(?:api|access|private)[-_.]?key)"
)
SECRET = re.compile(_SECRET, re.IGNORECASE)
# What a variable's name may say besides; in an option, "key" and "auth" are too common.
SECRET_VARIABLE = re.compile(rf"{_SECRET}|(?:^|_)(?:key|auth|pass|pwd)(?:_|$)", re.IGNORECASE)
# Nobody has looked at the names in a user's code: of those, no login of any kind.
PRIVATE_VARIABLE = re.compile(
    r"user(?:name)?$|login|cookie|session|cert|signature|webhook|(?:^|_)(?:dsn|pat|pin|sid|e?mail)(?:_|$)",
    re.IGNORECASE,
)
# --max-tokens 4096 is a size.
COUNT = re.compile(r"tokens", re.IGNORECASE)
NUMBER = re.compile(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?[kKmM]?")

NAME = re.compile(r"[-+~\w.@/]+")
OPTION = re.compile(r"--?[A-Za-z][\w.-]*")
NEXT_OPTION = re.compile(r"--(?:[A-Za-z].*)?|-[A-Za-z]", re.DOTALL)
# Every repetition is bounded, so that no argument, however long, takes long.
INLINE = re.compile(
    rf"({_SECRET}[\w.-]{{0,40}}[\"']?\s{{0,4}}[:=]\s{{0,4}})"
    r"(\"[^\"]*\"|'[^']*'|(?:Bearer\s|Basic\s)?[^\s\"',;&)}\]]+)",
    re.IGNORECASE,
)
# What is a secret by its shape, whatever it is called.
SHAPES = re.compile(
    r"(?<=Bearer\s)[\w.~+/=-]{8,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bhf_[A-Za-z0-9]{20,}"
    r"|\bglpat-[\w-]{16,}|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[\w-]{10,}"
)
URL_USER = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    # The second form: a password with a slash in it, but not a port before a path with an @.
    r"([^\s/?#\"']{0,4096}@|[^\s/?#@:\"']{0,256}+:(?!\d{1,5}[/?#])[^\s@\"']{0,4096}+@)"
)
URL_QUERY = re.compile(
    rf"([?&](?:[^=&\s]{{0,64}}?(?:{_SECRET}|signature)[^=&\s]{{0,64}}+|sig|key|auth)=)[^&\s#\"']+",
    re.IGNORECASE,
)


def describe(
    project: Path,
    words: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    read: Collection[str] = (),
) -> dict[str, Any]:
    """Return what started this process, so that it can be started again.

    words, environ: instead of this process's own. read: the variables that the code
    reads. `working_directory` is where the command was given, and `script` the main
    program; both relative to the project where they are in it. `redacted` names what
    was hidden, `unset` the variables that the code reads and nobody had set.
    """
    environ = _own_environ() if environ is None else environ
    argv, redacted = redact(sys.orig_argv if words is None else words)
    script = main_script()
    return {
        "argv": argv,
        "redacted": redacted,
        "script": _within(script, project),
        "module": getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None),
        "working_directory": _within(_start_folder(script), project),
        "notebook": in_notebook(),
        "pid": os.getpid(),
        "environ": dict(variables(environ, read)),
        "unset": sorted(name for name in read if name not in environ and not _is_private(name)),
    }


def _own_environ() -> Mapping[str, str]:
    """Return this process's variables, with its terminal's width whether anybody set it or not.

    Tables are drawn to it, and some are logged: Keras's summary of a model.
    """
    return {**os.environ, "COLUMNS": str(get_terminal_size().columns)}


def without_credentials(url: str) -> str:
    """Return a text without the users, passwords and tokens of the URLs in it.

    The user of ssh://git@host stays: it is part of the address, and no secret.
    """
    return URL_QUERY.sub(rf"\1{HIDDEN}", URL_USER.sub(_address, url))


def redact(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command without secrets, and the names of what was hidden."""
    kept, hidden, pending = list[str](), set[str](), ""
    for word in words:
        if pending and not NEXT_OPTION.fullmatch(word):
            secret = _is_secret(pending, word)
            kept.append(HIDDEN if secret else word)
            hidden |= {pending} if secret else set()
            # --tokens A B C: all of them.
            pending = pending if secret and pending.endswith("s") else ""
            continue
        pending = word if OPTION.fullmatch(word) and SECRET.search(word) else ""
        clean, names = _without_secrets(word)
        kept.append(clean)
        hidden |= names
    return kept, sorted(hidden)


def variables(environ: Mapping[str, str], read: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the variables that matter to a training, in order, secrets removed.

    read: those that its code reads by name, of which the private ones are left out.
    """
    for name, value in sorted(environ.items()):
        wanted = name in KEPT or name.startswith(KEPT_PREFIXES)
        wanted = wanted or (name in read and not _is_private(name))
        if wanted and not SECRET_VARIABLE.search(name) and not name.startswith(NEVER_PREFIXES):
            yield name, _clean(value)


def _is_private(name: str) -> bool:
    return bool(SECRET_VARIABLE.search(name) or PRIVATE_VARIABLE.search(name))


@functools.cache
def main_script() -> Path | None:
    """Return the program that this process runs, if it is a file; a notebook's, if known.

    Found once: Python takes __file__ away when the script has ended, and a short one has
    ended when the recorder comes to look.
    """
    main = sys.modules.get("__main__")
    found = getattr(main, "__file__", None) or getattr(main, "__vsc_ipynb_file__", None)
    if not found and os.environ.get("JPY_SESSION_NAME", "").endswith(".ipynb"):
        found = os.environ["JPY_SESSION_NAME"]
    return Path(os.path.abspath(found)) if isinstance(found, str) else None  # noqa: PTH100


def in_notebook() -> bool:
    """Say whether this process is an IPython kernel."""
    shell = loaded.call("IPython", "get_ipython")
    return getattr(shell, "kernel", None) is not None


def _address(match: re.Match[str]) -> str:
    scheme, user = match.groups()
    keep = scheme.lower() in ("ssh://", "git+ssh://") and ":" not in user
    return match[0] if keep else scheme


def _is_secret(name: str, value: str) -> bool:
    is_size = COUNT.search(name) and NUMBER.fullmatch(value)
    return bool(SECRET.search(name)) and not is_size


def _without_secrets(word: str) -> tuple[str, set[str]]:
    name, equals, value = word.partition("=")
    named = equals and NAME.fullmatch(name)
    if named and SECRET.search(name):
        secret = _is_secret(name, value)
        return (f"{name}={HIDDEN}", {name}) if secret else (word, set())
    clean = _clean(word)
    return clean, set() if clean == word else {name if named else "a value"}


def _clean(text: str) -> str:
    return SHAPES.sub(HIDDEN, INLINE.sub(_hide, without_credentials(text)))


def _hide(match: re.Match[str]) -> str:
    name, value = match.groups()
    return name + HIDDEN if _is_secret(name, value) else match[0]


def _start_folder(script: Path | None) -> Path | None:
    """Return the folder that the command was given in.

    Some programs (Hydra's) change it before they train; the shell's PWD stays.
    """
    try:
        now = Path.cwd()
    except OSError:
        return None
    before = Path(os.environ.get("PWD") or now)
    return before if _started_in(before, script) and not _started_in(now, script) else now


def _started_in(folder: Path, script: Path | None) -> bool:
    """Say whether a word of the command names the script from this folder."""
    words = [word for word in sys.orig_argv[1:] if not word.startswith(("-", "/"))]
    return any(os.path.normpath(folder / word) == str(script) for word in words)


def _within(path: Path | None, project: Path) -> str | None:
    """Return a path as the project knows it: relative, or absolute outside of it."""
    if path is None:
        return None
    for folder in (project, project.resolve()):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return str(path)
