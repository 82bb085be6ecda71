"""Make the README's pictures from the real MLflow UI: ./run_script.bash python pics/make.py

Trains three short runs in a store of their own, opens the UI on it and on a copy of it,
and takes their pictures with Chromium. In a container: RUNBACK_ENGINE=venv, as the
image has no browser.
"""

from __future__ import annotations

import http.client
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

PICS = Path(__file__).resolve().parent
PROJECT = PICS.parent
sys.path[:0] = [str(PROJECT), str(PICS)]

import browser  # noqa: E402

from runback import ui  # noqa: E402
from runback.launch import inside  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = (
    ("--learning-rate", "0.002"),
    ("--learning-rate", "0.0005", "--filters", "8"),
    ("--learning-rate", "0.01", "--filters", "32"),
)
# A person's second visit: in the half of the UI for training, its assistant closed, the
# mouse not over a chart.
VISITOR = """
localStorage["mlflow.workflowType_v1"] = '"machine_learning"';
localStorage["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"] = "true";
localStorage["mlflow.assistant.panelOpen_v1"] = "false";
addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = ".modebar-container { display: none }";
    document.head.append(style);
});
"""
FIGURE_IS_SHOWN = "[...document.images].some(i => i.naturalWidth > 500)"
CURVES_ARE_SHOWN = "document.querySelectorAll('.scatterlayer .trace').length >= 9"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="my-project-") as folder:
        environ = {**os.environ, "USER": "ada", "LOGNAME": "ada", "RUNBACK_HOST": "gpu-server"}
        environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = f"{folder}/mlruns"
        environ = inside.variables(PROJECT, environ)
        for arguments in RUNS:
            command = [sys.executable, "train_mlflow.py", *arguments]
            subprocess.run(command, cwd=PROJECT, env=environ, check=True)
        with served(environ, Path(folder)) as address, browser.page() as page:
            take(page, address, first_run(Path(folder)))
        with tempfile.TemporaryDirectory(prefix="laptop-") as laptop:
            there = copied(Path(folder), Path(laptop), environ)
            with served(there, Path(laptop)) as address, browser.page() as page:
                page.before_each(VISITOR)
                take_synced(page, address, first_run(Path(laptop)), PICS / "synced.png")
    for picture in PICS.glob("*.png"):
        shrink(picture)


def shrink(picture: Path) -> None:
    """Give a screenshot 64 colours: a third of the size, and nobody sees it."""
    from PIL import Image

    with Image.open(picture) as image:
        image.convert("RGB").quantize(64).save(picture, optimize=True)


def copied(source: Path, target: Path, environ: dict[str, str]) -> dict[str, str]:
    """Copy a store's runs as to a laptop, and index them there; return the variables for it."""
    subprocess.run(["rsync", "-a", f"{source}/mlruns/", f"{target}/mlruns/"], check=True)
    command = [sys.executable, "-m", "runback", "index"]
    subprocess.run(command, cwd=target, env=environ, check=True)
    return {**environ, "MLFLOW_TRACKING_URI": f"sqlite:///{target}/mlflow.db"}


def first_run(folder: Path) -> str:
    connection = sqlite3.connect(folder / "mlflow.db")
    ((run,),) = connection.execute("SELECT run_uuid FROM runs ORDER BY start_time LIMIT 1")
    connection.close()
    return str(run)


@contextmanager
def served(environ: dict[str, str], folder: Path) -> Iterator[str]:
    """Serve the store with the UI as `runback ui` does; yield its address."""
    port = unused_port()
    words = ui.command(environ["MLFLOW_TRACKING_URI"], folder / "mlruns", "127.0.0.1", port)
    server = ui.start(words, environ)
    try:
        wait_for_health(f"http://localhost:{port}", server)
        yield f"http://localhost:{port}"
    finally:
        ui.stop(server)


def unused_port() -> int:
    """Return a port that the kernel gives to nobody else soon, however many ask at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_health(address: str, server: subprocess.Popen[Any], deadline_s: float = 120) -> None:
    """Return when the server answers. Raises OSError if it ends or does not in time."""
    end = time.monotonic() + deadline_s
    while True:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
            return
        except OSError as error:
            if server.poll() is not None:
                raise OSError(f"the UI ended with status {server.returncode}") from error
            if time.monotonic() > end:
                raise
            time.sleep(0.3)
        finally:
            connection.close()


def take(page: browser.Page, address: str, run: str) -> None:
    """Write ui.png, a run's figure, and runs.png, the curves of all of them."""
    page.before_each(VISITOR)
    page.resize(1024, 640, scale=1.25)  # large letters: the README's first screen
    page.open(f"{address}/#/experiments/1/runs/{run}/artifacts/accuracy.png")
    page.wait_for(FIGURE_IS_SHOWN, "figure")
    page.screenshot(PICS / "ui.png")
    page.resize(1280, 800, scale=1)
    page.open(f"{address}/#/experiments/1/runs?compareRunsMode=CHART")
    page.wait_for(CURVES_ARE_SHOWN, "curves of three runs")
    time.sleep(1)  # the charts grow into place
    page.screenshot(PICS / "runs.png")


def take_synced(
    page: browser.Page, address: str, run: str, path: Path, experiment: int = 1
) -> None:
    """Open a copied run's manifest; write the picture of its files, with its metric points."""
    page.resize(1024, 640, scale=1)
    page.open(f"{address}/#/experiments/{experiment}/runs/{run}/artifacts/runback/manifest.json")
    page.wait_for(f"document.body.innerText.includes({run!r} + '\"')", "text of manifest.json")
    page.open("about:blank")  # a change of what is behind the # alone selects no other file
    page.open(f"{address}/#/experiments/{experiment}/runs/{run}/artifacts/runback/metrics.jsonl")
    page.wait_for("document.body.innerText.includes('[\"')", "lines of metrics.jsonl")
    page.screenshot(path)


if __name__ == "__main__":
    main()
