"""Prepare what a command finds in the environment, then become that command.

In a container this file is started as a script: python inside.py COMMAND…
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_URIS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
# `dvc exp run --temp` and its queue train in a copy of the repository, and remove it then.
COPY = re.compile(r"(.+?)/\.dvc/tmp/exps/(?:standalone/)?[^/]+(?:/(.+))?")


def origin(root: Path) -> Path:
    """Return the folder that DVC made a copy of for an experiment; `root` if it is no copy.

    There are its store and its environment: what is beside the copy goes with it. The copy
    is of the whole repository, whose top may be above the folder with .dvc. Where that is
    not to be seen, as in a container, the folder itself is looked for.
    """
    found = COPY.fullmatch(str(root))
    if found is None:
        return root
    home, inside = Path(found[1]), found[2] or ""
    places = (home, *home.parents)
    top = next((place for place in places if (place / (inside or ".git")).exists()), None)
    return top / inside if top else home


def variables(root: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the command's environment: what was given, and what is not yet set.

    The store is absolute, so that a script which is started in a subfolder, or
    which changes folder, logs to the same one. MLflow 3.17 puts artifacts into
    `mlruns` of the working directory unless the (private) variable
    _MLFLOW_SERVER_ARTIFACT_ROOT says where; a test watches that it still does.
    That of a DVC experiment in a folder of its own is the project's, which stays.
    """
    wanted, home = dict(given), origin(root)
    defaults = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": f"{home}/mlruns",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        # Set order is part of a training; Python reads this at its start only.
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    for name, value in defaults.items():
        wanted.setdefault(name, value)
    paths = [str(root), *filter(None, given.get("PYTHONPATH", "").split(os.pathsep))]
    wanted["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return wanted


def become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by `command`, found on `environ`'s PATH. Exits as a shell would.

    `runback` is this project's own: the environment has its packages, not the command.
    """
    if command[0] == "runback":
        command = ["python", "-m", *command]
    try:
        os.execvpe(command[0], list(command), dict(environ))
    except FileNotFoundError:
        print(f'error: there is no command "{command[0]}" in the environment', file=sys.stderr)
        sys.exit(127)
    except OSError as error:
        print(f'error: cannot run "{command[0]}": {error.strerror}', file=sys.stderr)
        sys.exit(126)


def main() -> NoReturn:
    """Make the store if it is not there yet, then run the command that was given."""
    sys.path[:1] = [str(ROOT)]  # not this file's folder: its modules are not top-level ones
    from runback.terminal import ended

    sys.exit(ended(_prepare_and_become))


def _prepare_and_become() -> NoReturn:
    from runback.errors import StoreError
    from runback.terminal import report, say

    environ = variables(ROOT, os.environ)
    try:
        prepare_store(ROOT, environ, say)
    except StoreError as error:
        # Not every command needs the store; the one that mends it must run.
        report(error)
    become(sys.argv[1:], environ)


def lacks_store(root: Path, environ: Mapping[str, str]) -> bool:
    """Say whether the command would find no store where the project's own should be."""
    database = origin(root) / "mlflow.db"
    return environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{database}" and not database.exists()


def prepare_store(root: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Make the project's own store unless it exists or MLflow was pointed elsewhere.

    Raises StoreError, also where MLflow would take the store's path for another one.
    """
    _refuse_unnameable(root, environ)
    if lacks_store(root, environ):
        from runback.store.create import create

        create(origin(root) / "mlflow.db", say)


def _refuse_unnameable(root: Path, environ: Mapping[str, str]) -> None:
    """Raise StoreError where the URI does not say the path: ? begins its query, %41 is an A."""
    from runback.errors import StoreError

    uri = f"sqlite:///{origin(root)}/mlflow.db"
    if environ["MLFLOW_TRACKING_URI"] == uri and (found := NOT_IN_URIS.search(str(root))):
        raise StoreError(
            f'MLflow keeps no store in a folder with "{found[0]}" in its path: {root}',
            f"mv {shlex.quote(str(root))} …   # or set MLFLOW_TRACKING_URI",
        )


if __name__ == "__main__":
    main()
