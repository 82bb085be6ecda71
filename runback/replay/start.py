"""Word what starts a command in an environment: as a process here, or in a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runback.launch import container, image, venv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runback.replay.environment import Environment
    from runback.replay.original import Original


def line(
    chosen: Environment,
    original: Original,
    code: Path,
    words: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    client: Mapping[str, str],
    mounted: Sequence[Path] = (),
    extra: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """Return the command that is started, and its variables.

    client: variables of this process, by which the engine's command finds its engine.
    mounted: folders outside of the project that a container has to see. extra: arguments
    of the engine's `run`.
    """
    if chosen.engine is None:
        prefix = Path(chosen.python).parent.parent
        is_venv = (prefix / "pyvenv.cfg").is_file()
        return list(words), venv.variables(prefix, environ) if is_venv else dict(environ)
    caller = container.this_caller(code, folder)
    image_id = image.identity(chosen.engine, chosen.image)
    given = container.with_origin(environ, image_id)
    seen = [original.root, *(path for path in mounted if not path.is_relative_to(original.root))]
    # A name without a value: the engine's command reads it from its own environment.
    options = [word for name in _handed_over(original, environ) for word in ("--env", name)]
    return (
        container.run_command(
            *(chosen.engine, chosen.image, launchers(code, folder, original.script), caller, given),
            gpu=bool(chosen.engine.gpu),
            extra=[*options, *extra],
            command=words,
            folders=seen,
        ),
        {**client, **given},
    )


def launchers(code: Path, folder: Path, script: str | None) -> Path:
    """Return the folder of the launcher: below the code's, if the project is a part of it.

    That of where the command is given; if that is elsewhere, that of the script.
    """
    starts = (folder, code / (script or ""))
    places = (place for start in starts for place in (start, *start.parents))
    inside = (place for place in places if place.is_relative_to(code))
    return next((place for place in inside if (place / "runback/launch").is_dir()), code)


def _handed_over(original: Original, environ: Mapping[str, str]) -> list[str]:
    """Return the variables of a replay, which the container has to have; not the machine's own."""
    recorded = original.command.get("environ")
    names = {*(recorded if isinstance(recorded, dict) else {})}
    ours = {name for name in environ if name.startswith(("RUNBACK_", "_MLFLOW", "MLFLOW_"))}
    return sorted((names | ours) & environ.keys() - {"PYTHONPATH", "LD_LIBRARY_PATH"})
