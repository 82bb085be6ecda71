"""Say which store is meant: a folder with mlflow.db and mlruns/, or a server's address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE, RUNS = "mlflow.db", "mlruns"
HERE = Path()


def parse(text: str, here: Path) -> Path | str:
    """Return the folder that a store's name means, or a URI that only MLflow's client reads.

    text: a folder, or a URI of MLflow's: of the database `mlflow.db` it means the folder
    around it, of another SQLite file its absolute URI. here: what relative ones start from.
    """
    if text.startswith("sqlite:///"):
        database = here / _unquoted(text.removeprefix("sqlite:///").partition("?")[0])
        return database.parent if database.name == DATABASE else f"sqlite:///{database}"
    if text.startswith("file:"):
        return _around(Path("/" + _unquoted(text).removeprefix("file:").lstrip("/")))
    if text.startswith(("http://", "https://")):
        return text.partition("#")[0].rstrip("/")  # as pasted from a browser
    return text if "://" in text or text == "databricks" else Path(text)


def default(environ: Mapping[str, str], here: Path) -> Path | str:
    """Return the store that is meant where none is named.

    The one in the folder `here`, if there is one; else where MLFLOW_TRACKING_URI leads,
    as run_script.bash sets it: from a folder within a project, to the project's.
    """
    given = environ.get("MLFLOW_TRACKING_URI")
    if not given or (here / DATABASE).exists() or (here / RUNS).is_dir():
        return HERE
    found = parse(given, here)
    if isinstance(found, str):
        return found
    folder = _around(here / found)
    return folder if folder.is_dir() else HERE


def shown(uri: str) -> str:
    """Return a URI without the password that may be in it."""
    from runback.capture.command import without_credentials

    return without_credentials(uri)


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote  # a tenth of `runback ls`

    return unquote(text)


def _around(folder: Path) -> Path:
    """Return the folder that mlruns/ is in: MLflow's old stores are called by its name."""
    return folder.parent if folder.name == RUNS else folder
