"""Open the MLflow UI on a store, in its light form.

MLflow's default is 15 processes and 2.6 GB; with one worker and without the jobs
of its GenAI features it is 2 processes and 0.5 GB, and starts in half the time.
Standard library only: the launcher checks the port before it starts anything.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from runback.errors import PortTaken, RunbackError
from runback.group import tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_PORT = 5000


def command(store_uri: str, artifacts: Path, host: str, port: int) -> list[str]:
    """Return the command that serves the UI of the store at http://localhost:PORT."""
    return [
        *(sys.executable, "-m", "mlflow", "ui"),
        *("--backend-store-uri", store_uri),
        # What the UI itself makes (experiments, prompts) belongs beside the runs too.
        *("--default-artifact-root", str(artifacts)),
        *("--host", host, "--port", str(port), "--workers", "1"),
    ]


def start(words: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the UI without its job runner (unless that was asked for), in a group of its own."""
    quiet = {"PYTHONWARNINGS": "ignore"}  # of MLflow's own, which its user cannot mend
    wanted = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **quiet, **environ}
    return subprocess.Popen(list(words), env=wanted, start_new_session=True)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the UI by SIGTERM to all of its processes, and wait for it.

    Ctrl-C would reach them too, but uvicorn answers that with a traceback.
    """
    tell(server, signal.SIGTERM)
    server.wait()


def serve(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the UI until it ends or we are told to end; return its exit status, 0 if told."""

    def told(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, told)
    server = start(words, environ)
    try:
        return server.wait()
    except KeyboardInterrupt:
        stop(server)
        return 0


def parse_port(arguments: Sequence[str]) -> int:
    """Return the port that `--port N` names, 5000 without it."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    if not words:
        return DEFAULT_PORT
    if (
        len(words) == 2
        and words[0] in ("--port", "-p")
        and words[1].isascii()
        and words[1].isdigit()
    ):
        port = int(words[1])
        if 0 < port < 65536:
            return port
    raise RunbackError(
        f'cannot read "{" ".join(arguments)}": it can be --port and a number from 1 to 65535',
        "./run_mlflow_ui.bash --port 5001",
    )


def free_port(port: int) -> int:
    """Return `port` if nobody listens there. Raises PortTaken with the next free one."""
    if is_free(port):
        return port
    free = next((other for other in range(port + 1, min(port + 100, 65536)) if is_free(other)), 0)
    raise PortTaken(port, free or DEFAULT_PORT)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise RunbackError(
                f"port {port} is for root alone", f"./run_mlflow_ui.bash --port {DEFAULT_PORT}"
            ) from error
        except OSError:
            return False
    # macOS lets us share a port with a listener on all addresses (AirPlay's, on 5000).
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return False
    return True
