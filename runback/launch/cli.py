"""Choose where a command runs, say so, and become it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from runback.errors import EngineError, EnvironmentMissing, GpuRequired, RunbackError
from runback.launch import container, engine, image, inside, kind, venv
from runback.launch.progress import Progress
from runback.terminal import say
from runback.ui import free_port, parse_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runback.launch.engine import Absent, Engine

ROOT = Path(__file__).resolve().parents[2]
GPU_CHOICES = ("auto", "required", "none")
ENGINES = ("auto", "container", "docker", "podman", "venv")

RUN_USAGE = """\
Usage: ./run_script.bash COMMAND [ARGUMENT ...]

Run a command in the locked environment: in a container of the project's image,
or in .venv where no container engine answers.

  ./run_script.bash python train_mlflow.py --epochs 5
  ./run_script.bash pytest
  ./run_script.bash bash            a shell in the environment

  --build     make the environment, run nothing
  --repair    install again what .venv's lock says, run nothing

Environment variables:
  RUNBACK_ENGINE       auto (default), container (never .venv), docker, podman, venv
  RUNBACK_GPU          auto (default), required, none
  RUNBACK_ENGINE_ARGS  more arguments of docker run: "--volume /data:/data:ro"
  RUNBACK_BUILD_ARGS   more arguments of docker build: "--build-arg BASE=…"
  RUNBACK_PYTHON       the Python that .venv is made with (3.11 or 3.12)
"""

UI_USAGE = """\
Usage: ./run_mlflow_ui.bash [--port PORT]

Open the MLflow UI on this project's runs, at http://localhost:5000
(from another machine: ssh -t -L 5000:localhost:5000 SERVER).
"""


def main() -> int:
    """Run `run COMMAND…` or `ui [--port N]`; return only when there is nothing to become."""
    verb, arguments = sys.argv[1], sys.argv[2:]
    return {"run": run, "ui": ui}[verb](arguments)


def run(command: Sequence[str]) -> int:
    """Become `command` in the environment that RUNBACK_ENGINE names or that there is."""
    if not command or command[0] in ("-h", "--help"):
        print(RUN_USAGE, end="", file=sys.stdout if command else sys.stderr)
        return 0 if command else 2
    if command[0].startswith("-") and command[0] not in ("--build", "--repair"):
        print(f"error: no such option: {command[0]}\n\n{RUN_USAGE}", end="", file=sys.stderr)
        return 2
    if lock := os.environ.get("RUNBACK_IMAGE_LOCK"):
        return _in_this_image(Path(lock), command)
    found = _engine()
    if isinstance(found, engine.Engine) and command[0] != "--repair":
        return _in_container(found, command)
    if isinstance(found, engine.Absent):
        say(f"no container ({found}); running in .venv, {_gpu_here()}")
    return _in_venv(_full(), command)


def ui(arguments: Sequence[str]) -> int:
    """Become the MLflow UI, in an environment that is there, or in a light one that is made."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(UI_USAGE, end="")
        return 0
    port = free_port(parse_port(arguments))
    os.chdir(ROOT)  # `ssh server project/run_mlflow_ui.bash` starts it at home
    command = ["python", "-m", "runback", "ui", "--port", str(port)]
    if lock := os.environ.get("RUNBACK_IMAGE_LOCK"):
        return _in_this_image(Path(lock), command)
    choice = _choice("RUNBACK_ENGINE", ENGINES)
    if choice in ("auto", "venv") and venv.is_ready(_root_of(full := _full()), full):
        return _in_venv(full, command)
    found = _engine()
    if isinstance(found, engine.Engine) and (
        choice != "auto" or image.exists(found, image.tag(ROOT, _words("RUNBACK_BUILD_ARGS")))
    ):
        return _in_container(found, command, port)
    try:
        return _in_venv(kind.LIGHT, command)
    except EnvironmentMissing:
        if not isinstance(found, engine.Engine):
            raise
        return _in_container(found, command, port)


def _in_this_image(lock: Path, command: Sequence[str]) -> int:
    """Become the command here: this is a container of the image already."""
    if command[0].startswith("-"):
        raise RunbackError("this is a container: its environment is made by building its image")
    if lock.read_bytes() != (ROOT / "requirements.txt").read_bytes():
        say("requirements.txt has changed since this image was built: rebuild the container")
    _become("python", command, os.environ)


def _full() -> kind.Kind:
    """Return the full environment's kind; one with CUDA serves a machine without a driver too.

    Else two machines that share a home would make it anew for one another.
    """
    root = _root_of(kind.FULL_CUDA)
    return kind.FULL_CUDA if venv.is_ready(root, kind.FULL_CUDA) else kind.full()


def _in_venv(which: kind.Kind, command: Sequence[str]) -> int:
    root = _root_of(which)
    venv.ensure(root, which, Progress(), repair=command[0] == "--repair")
    if command[0].startswith("-"):
        return 0
    environ = venv.variables(root / which.folder, os.environ)
    _become(str(venv.python(root, which)), command, environ)


def _root_of(which: kind.Kind) -> Path:
    """Return the folder of the environment: the project's, also for a copy with its lock."""
    home = inside.origin(ROOT)
    is_shared = home == ROOT or kind.digest(home, which) == kind.digest(ROOT, which)
    return home if is_shared else ROOT


def _in_container(found: Engine, command: Sequence[str], port: int | None = None) -> int:
    gpu = _hand_over_gpu(found)
    tag, image_id = _image(found)
    if command[0] == "--build":
        return 0
    extra = _words("RUNBACK_ENGINE_ARGS")
    if port and not container.uses_host_network(extra):
        extra = [*extra, f"--publish=127.0.0.1:{port}:{port}"]
        command = [*command, "--host", "0.0.0.0"]
    say(f"{found.name} {found.version}, image {tag}, {_gpu_words(found, gpu)}")
    caller = container.this_caller(ROOT, Path.cwd())
    environ = container.with_origin(os.environ, image_id)
    words = container.run_command(
        found, tag, ROOT, caller, environ, gpu=gpu, extra=extra, command=command
    )
    inside.become(words, environ)


def _image(found: Engine) -> tuple[str, str]:
    """Return the image's name and id; it is built if the engine has none of that name."""
    build_args = _words("RUNBACK_BUILD_ARGS")
    tag = image.tag(ROOT, build_args)
    if image_id := image.identity(found, tag):
        return tag, image_id
    say(f"building the image {tag} (once for this lock; downloads about 6 GB)")
    image.build(found, ROOT, tag, build_args, dict(os.environ))
    return tag, image.identity(found, tag)


def _become(python: str, command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    wanted = inside.variables(ROOT, environ)
    if inside.lacks_store(ROOT, wanted):
        # MLflow makes it; that Python has it, the launcher's own (-S) has no packages.
        script = str(ROOT / "runback" / "launch" / "inside.py")
        command = [python, script, *command]
    inside.become(command, wanted)


def _engine() -> Engine | Absent:
    """Return the engine to use, or why there is none. Raises EngineError if one was asked for."""
    choice = _choice("RUNBACK_ENGINE", ENGINES)
    if choice == "venv":
        return engine.Absent("RUNBACK_ENGINE=venv")
    found = engine.find(choice, os.environ.get("PATH"))
    if choice != "auto" and isinstance(found, engine.Absent):
        raise EngineError(found.name, found.reason)
    return found


def _choice(name: str, allowed: Sequence[str]) -> str:
    value = os.environ.get(name) or "auto"
    if value not in allowed:
        raise RunbackError(f"{name}={value}: it can be {', '.join(allowed)}")
    return value


def _words(name: str) -> list[str]:
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise RunbackError(f"{name} cannot be split into words: {error}") from error


def _hand_over_gpu(found: Engine) -> bool:
    wanted = _choice("RUNBACK_GPU", GPU_CHOICES)
    if wanted == "none":
        return False
    _require_gpu(bool(found.gpu), f"{found.name} has no NVIDIA runtime")
    return bool(found.gpu)


def _require_gpu(there: bool, reason: str) -> None:
    if not there and _choice("RUNBACK_GPU", GPU_CHOICES) == "required":
        raise GpuRequired(reason)


def _gpu_words(found: Engine, gpu: bool) -> str:
    if gpu:
        return "all GPUs"
    return (
        "no GPU (RUNBACK_GPU=none)" if found.gpu else f"no GPU ({found.name} has no NVIDIA runtime)"
    )


def _gpu_here() -> str:
    """Say which GPUs a command in .venv can use; docs/gpu.md says why not TensorFlow."""
    if _choice("RUNBACK_GPU", GPU_CHOICES) == "none":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return "no GPU (RUNBACK_GPU=none)"
    there = kind.has_nvidia_driver()
    _require_gpu(there, "no NVIDIA driver is loaded here")
    return "GPUs for torch, not for TensorFlow" if there else "no GPU"
