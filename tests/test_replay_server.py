"""A run of a tracking server is fetched into the folder's own store, and replayed there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import plain_environ
from servers import served

TRAIN = """
import runback
from pathlib import Path
import mlflow
with runback.init(name="far", params={"rate": 0.5}) as experiment:
    for step in range(3):
        Path("weights.txt").write_text(str(step))
        experiment.checkpoint("weights.txt", step, {"loss": 0.5 ** step}, ("loss", "minimize"))
    mlflow.log_text("seen", "notes/read me.txt")
"""


def test_fetched_and_replayed(tmp_path: Path) -> None:
    for name in ("server", "gpu box", "laptop"):
        (tmp_path / name).mkdir()
    (tmp_path / "gpu box" / "train.py").write_text(TRAIN)
    environ = plain_environ(XDG_CACHE_HOME=str(tmp_path / "cache"))
    with served(tmp_path / "server", tmp_path / "log") as uri:
        there = {**environ, "MLFLOW_TRACKING_URI": uri}
        done = run(("train.py",), tmp_path / "gpu box", there)
        assert done.returncode == 0, done.stderr
        words = ("-m", "runback", "replay", "far", "--store", uri)
        done = run(words, tmp_path / "laptop", environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("identical")
    assert "  artifacts    notes/read me.txt the same\n" in done.stdout
    assert (
        "  checkpoints  weights at step 0, weights at step 1, weights at step 2 the same"
        in done.stdout
    )
    assert "its code is run now" in done.stderr
    assert (tmp_path / "laptop" / "mlflow.db").exists()


def run(
    words: tuple[str, ...], cwd: Path, environ: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environ, capture_output=True, text=True, timeout=200
    )
