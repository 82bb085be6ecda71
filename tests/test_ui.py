"""The MLflow UI: on localhost, light, polite about a taken port, and seen in a browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import REPOSITORY, FakeEngine, Project
from processes import Started

from runback import ui
from runback.errors import PortTaken, RunbackError
from runback.launch import inside

sys.path.append(str(REPOSITORY / "pics"))
import browser
import make

LOG_A_RUN = """
import mlflow
from matplotlib.figure import Figure
mlflow.set_experiment("seen")
with mlflow.start_run(run_name="gentle-lynx-412"):
    mlflow.log_metric("val_accuracy", 0.98)
    figure = Figure(figsize=(6, 4))
    figure.subplots().plot([0.5, 0.9, 0.98])
    mlflow.log_figure(figure, "accuracy.png")
"""


def test_command_is_the_light_form(tmp_path: Path) -> None:
    words = ui.command("sqlite:////p/mlflow.db", Path("/p/mlruns"), "127.0.0.1", 5001)
    assert words[1:] == [
        *("-m", "mlflow", "ui", "--backend-store-uri", "sqlite:////p/mlflow.db"),
        *("--default-artifact-root", "/p/mlruns", "--host", "127.0.0.1", "--port", "5001"),
        *("--workers", "1"),
    ]


@pytest.mark.parametrize(
    ("arguments", "port"), [([], 5000), (["--port", "5001"], 5001), (["--port=80"], 80)]
)
def test_port_is_read(arguments: list[str], port: int) -> None:
    assert ui.parse_port(arguments) == port


@pytest.mark.parametrize(
    "arguments", [["--port"], ["--port", "x"], ["--port", "0"], ["--port", "65536"], ["5001"]]
)
def test_what_is_no_port_is_quoted(arguments: list[str]) -> None:
    with pytest.raises(RunbackError, match=re.escape(f'cannot read "{" ".join(arguments)}"')):
        ui.parse_port(arguments)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_taken_port_names_the_next_free_one(taken: int) -> None:
    with pytest.raises(PortTaken) as raised:
        ui.free_port(taken)
    free = int(raised.value.hint.split()[-1])
    assert free > taken
    assert ui.is_free(free)


def test_script_refuses_a_taken_port(project: Project, taken: int) -> None:
    done = project.script("run_mlflow_ui.bash", "--port", str(taken))
    assert done.returncode == 3
    assert re.fullmatch(
        rf"error: port {taken} of 127\.0\.0\.1 is taken by another program\n"
        r"hint: \./run_mlflow_ui\.bash --port \d+\n",
        done.stderr,
    )


def test_script_has_help_and_quotes_nonsense(project: Project) -> None:
    assert (
        "Usage: ./run_mlflow_ui.bash [--port PORT]"
        in project.script("run_mlflow_ui.bash", "--help").stdout
    )
    done = project.script("run_mlflow_ui.bash", "--prot", "5001")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        3,
        'error: cannot read "--prot 5001": it can be --port and a number from 1 to 65535',
    )


@pytest.mark.parametrize("network", ["", "--network host"])
def test_container_publishes_the_port_on_the_hosts_localhost_alone(
    project: Project, make_engine: Callable[..., FakeEngine], network: str
) -> None:
    """On the host's own network there is nothing to publish, and localhost is the host's."""
    engine = make_engine("docker")
    port = str(make.unused_port())
    given = {"RUNBACK_ENGINE": "docker", "RUNBACK_ENGINE_ARGS": network}
    project.script("run_mlflow_ui.bash", "--port", port, cwd=None, **given)
    words = engine.calls("run")[0]
    assert (f"--publish=127.0.0.1:{port}:{port}" in words) is not bool(network)
    assert (words[-2:] == ["--host", "0.0.0.0"]) is not bool(network)


def environ(folder: Path) -> dict[str, str]:
    return inside.variables(
        REPOSITORY,
        {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": f"{folder}/mlruns",
        },
    )


@pytest.fixture(scope="module")
def project_with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a project")
    subprocess.run([sys.executable, "-c", LOG_A_RUN], env=environ(folder), check=True)
    return folder


@pytest.fixture(scope="module")
def served(project_with_a_run: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Return the address of `runback ui` in a folder with a store, and its process."""
    folder = project_with_a_run
    port = make.unused_port()
    given = {**environ(folder)}
    del given["MLFLOW_TRACKING_URI"]  # what the folder has is found
    process = subprocess.Popen(
        [sys.executable, "-m", "runback", "ui", "--port", str(port)],
        cwd=folder,
        env=given,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = f"http://localhost:{port}"
    try:
        make.wait_for_health(address, process)
        yield address, process
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert f"runback: {address} (Ctrl-C ends it)\n" in err


Served = tuple[str, "subprocess.Popen[str]"]


def test_listens_on_localhost_alone(served: Served) -> None:
    port = int(served[0].rpartition(":")[2])
    listening = [
        connection.laddr.ip
        for process in tree(served[1])
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    assert listening == ["127.0.0.1"]


def test_is_few_processes(served: Served) -> None:
    """Ours, MLflow's command and its server; MLflow's default is 15."""
    assert len(tree(served[1])) <= 3


def tree(process: subprocess.Popen[str]) -> list[psutil.Process]:
    top = psutil.Process(process.pid)
    return [top, *top.children(recursive=True)]


def test_serves_the_stores_runs(served: Served) -> None:
    request = urllib.request.Request(
        f"{served[0]}/api/2.0/mlflow/runs/search",
        data=b'{"experiment_ids": ["1"]}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        assert b"gentle-lynx-412" in answer.read()


@pytest.mark.browser
def test_run_and_its_figure_are_seen_in_a_browser(
    served: Served, project_with_a_run: Path, tmp_path: Path
) -> None:
    if browser.find() is None:
        pytest.skip(f"needs a browser: one of {', '.join(browser.NAMES)}")
    run = make.first_run(project_with_a_run)
    with browser.page() as page:
        page.before_each(make.VISITOR)
        page.open(f"{served[0]}/#/experiments/1/runs")
        page.wait_for("document.body.innerText.includes('gentle-lynx-412')", "run in the list")
        page.open(f"{served[0]}/#/experiments/1/runs/{run}/artifacts/accuracy.png")
        page.wait_for(make.FIGURE_IS_SHOWN, "figure")
        page.screenshot(tmp_path / "seen.png")
    assert (tmp_path / "seen.png").stat().st_size > 20_000


def test_server_in_the_tracking_uri_is_not_a_store_to_serve(tmp_path: Path) -> None:
    done = run_ui(tmp_path, MLFLOW_TRACKING_URI="http://server:5000")
    assert done.returncode == 3
    assert "MLFLOW_TRACKING_URI=http://server:5000 is a server" in done.stderr


def run_ui(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    given["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, "-m", "runback", "ui", "--port", str(make.unused_port())]
    return subprocess.run(
        command, cwd=folder, env={**given, **more}, capture_output=True, text=True, timeout=120
    )


def test_old_file_store_is_taken_in(tmp_path: Path) -> None:
    log = "import mlflow; mlflow.start_run(run_name='old'); mlflow.log_param('x', 1)"
    old = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "RUNBACK_RECORD": "0"}
    old["MLFLOW_TRACKING_URI"] = (tmp_path / "mlruns").as_uri()
    subprocess.run([sys.executable, "-c", log], env=old, check=True, capture_output=True)
    words = [sys.executable, "-m", "runback", "index", "--store", str(tmp_path)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mlruns/ is an old file store" in done.stderr
    assert done.stdout.startswith("1 run: 1 recorded")
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    assert connection.execute("SELECT name FROM runs").fetchall() == [("old",)]
    connection.close()


@pytest.fixture
def laptop(copy: Path, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Return a fresh clone on a machine that has a Python and nothing else of ours."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("RUNBACK", "MLFLOW", "VIRTUAL"))
    }
    yield copy, {**kept, "RUNBACK_ENGINE": "venv", "PATH": _path_of_base_python()}
    shutil.rmtree(copy)  # 0.9 GB


def _path_of_base_python() -> str:
    return f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"


def test_laptop_that_only_looks_gets_a_light_environment(
    laptop: tuple[Path, dict[str, str]],
) -> None:
    root, given = laptop
    port = make.unused_port()
    command = [str(root / "run_mlflow_ui.bash"), "--port", str(port)]
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE}
    process = Started(command, env=given, cwd=root.parent, **pipes)
    try:
        make.wait_for_health(f"http://localhost:{port}", process, deadline_s=600)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
    assert "making .venv-light from docker/light.txt" in err
    assert not (root / ".venv").exists()
    packages = {
        path.name.split("-")[0] for path in root.glob(".venv-light/lib/*/site-packages/*-info")
    }
    assert "mlflow" in packages
    assert not packages & {"tensorflow", "torch", "keras", "jupyterlab"}
