"""An MLflow tracking server of the tests' own, on a port that nobody else has."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import plain_environ

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "RUNBACK_RECORD": "0"}


@contextmanager
def served(folder: Path, log: Path, *options: str) -> Iterator[str]:
    """Serve from the folder; yield the address. The server is ended whatever happens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ("-m", "mlflow", "server", "--port", str(port), "--workers", "1", *options)
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=plain_environ(**QUIET),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the server did not come up")
