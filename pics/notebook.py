"""Make the picture of the notebook in JupyterLab: ./run_script.bash python pics/notebook.py

In a copy of the project with four short runs: JupyterLab as the devcontainer starts it, and
Chromium, which opens notebooks/explore.ipynb and runs it. In a container: RUNBACK_ENGINE=venv.
With an address, http://127.0.0.1:8888/?token=…: the JupyterLab of a devcontainer that is up.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

PICS = Path(__file__).resolve().parent
PROJECT = PICS.parent
sys.path[:0] = [str(PROJECT), str(PICS)]

import browser  # noqa: E402
import make  # noqa: E402

from runback.launch import inside  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = (*make.RUNS, ("--learning-rate", "0.005", "--dropout", "0.5"))
NOTEBOOK = "notebooks/explore.ipynb"
KERNEL_WAITS = """(request => (request.open("GET", "/api/kernels", false), request.send(),
    JSON.parse(request.responseText).some(k => k.connections && k.execution_state === "idle")
))(new XMLHttpRequest())"""
RUN_MENU = "[...document.querySelectorAll('.lm-MenuBar-item')].find(e => e.innerText === 'Run')"
RUN_ALL = "document.querySelector('.lm-Menu-item[data-command=\"runmenu:run-all\"]')"
LAST_FIGURE = "document.querySelector('.jp-Cell:last-child .jp-OutputArea img')?.naturalWidth > 300"
NO_NEWS = "[...document.querySelectorAll('.Toastify button')].find(e => e.innerText === 'No')"
# Cells out of sight are not in the page.
TOP = "(e => (e.scrollTop = 0, true))(document.querySelector('.jp-WindowedPanel-outer'))"
TABLE = "[...document.querySelectorAll('.jp-CodeCell')].find(e => /gradient/.test(e.innerText))"


def main() -> None:
    with served(*sys.argv[1:]) as address, browser.page() as page:
        take(page, address, PICS / "notebook.png")
    make.shrink(PICS / "notebook.png")


@contextmanager
def served(address: str = "") -> Iterator[str]:
    """Yield the address given, or that of a JupyterLab on a project with runs."""
    if address:
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        root = Path(folder) / "my-project"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(root)], check=True)
        environ = environ_of(root, Path(folder))
        for arguments in RUNS:
            command = [sys.executable, "train_mlflow.py", *arguments]
            subprocess.run(command, cwd=root, env=environ, check=True)
        with jupyterlab(root, environ) as own:
            yield own


def environ_of(root: Path, folder: Path) -> dict[str, str]:
    """Return the variables of the devcontainer, with settings of JupyterLab's own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {f"JUPYTER_{name}_DIR": f"{folder}/{name}" for name in ("CONFIG", "DATA", "RUNTIME")}
    settings = Path(own["JUPYTER_CONFIG_DIR"]) / "jupyter_server_config.json"
    settings.parent.mkdir()
    settings.write_text('{"ServerApp": {"allow_root": true}}')  # who makes pictures may be root
    given = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
    return inside.variables(root, {**given, **own, "PATH": path, "IPYTHONDIR": f"{folder}/ipython"})


@contextmanager
def jupyterlab(root: Path, environ: dict[str, str]) -> Iterator[str]:
    """Start JupyterLab as the devcontainer does; yield its address, and end it."""
    port = str(make.unused_port())
    words = ["docker/jupyter.bash", port]
    started = subprocess.run(words, cwd=root, env=environ, check=True, stdout=-1, text=True)
    try:
        yield re.findall(r"http://\S+", started.stdout)[0]
    finally:
        stop = ["jupyter", "server", "stop", port]
        subprocess.run(stop, cwd=root, env=environ, check=True, stdout=subprocess.DEVNULL)


def take(page: browser.Page, address: str, path: Path) -> None:
    """Open the notebook, run all its cells, and write the picture of its table and curves."""
    page.resize(1280, 1060, scale=1)
    server, _, token = address.partition("/?token=")
    page.open(f"{server}/lab/tree/{NOTEBOOK}?token={token}")
    page.wait_for("document.querySelectorAll('.jp-Notebook .jp-Cell').length > 2", "notebook")
    page.wait_for(KERNEL_WAITS, "kernel that waits")
    press(page, RUN_MENU, "menu Run")
    press(page, RUN_ALL, "menu Run, entry Run All Cells")
    page.wait_for(LAST_FIGURE, "last figure")
    page.click(NO_NEWS, "question about news")
    page.wait_for(TOP, "notebook that scrolls")
    page.wait_for(f"(e => e && (e.scrollIntoView(), true))({TABLE})", "table")
    time.sleep(1)  # the question fades
    page.screenshot(path)


def press(page: browser.Page, js: str, what: str) -> None:
    """Press the mouse on the element that the expression gives: a menu does not know `click`."""
    page.wait_for(f"!!({js})", what)
    box = page.value(
        f"(r => [r.x + r.width / 2, r.y + r.height / 2])(({js}).getBoundingClientRect())"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        page.send("Input.dispatchMouseEvent", type=kind, **where)


if __name__ == "__main__":
    main()
