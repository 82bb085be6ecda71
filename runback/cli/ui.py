"""runback ui: the MLflow UI on the runs of this folder."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from runback import ui as server
from runback.cli.index import show
from runback.errors import RunbackError
from runback.launch import inside
from runback.store.index import index
from runback.terminal import say


@click.command()
@click.option(
    "--port", default=server.DEFAULT_PORT, show_default=True, type=click.IntRange(1, 65535)
)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 in a container.")
def ui(port: int, host: str) -> int:
    """Open the MLflow UI on the runs of this folder"""
    if importlib.util.find_spec("mlflow") is None:
        raise RunbackError("mlflow is not installed here", "pip install 'mlflow>=3.16,<3.18'")
    if host == "127.0.0.1":
        server.free_port(port)
    project = Path.cwd()
    environ = inside.variables(project, os.environ)
    store = environ["MLFLOW_TRACKING_URI"]
    if store.startswith("http"):
        raise RunbackError(f"MLFLOW_TRACKING_URI={store} is a server: open it in a browser")
    if store == f"sqlite:///{project / 'mlflow.db'}":
        # Runs that came by rsync, or were killed, are then listed as they are.
        show(index(project, say))
    say(f"http://localhost:{port} (Ctrl-C ends it)")
    # MLflow opens in its other half, which shows no runs; it remembers the choice.
    say('in the page, choose "Model training" at the top left: the runs are there')
    return server.serve(server.command(store, project / "mlruns", host, port), environ)
