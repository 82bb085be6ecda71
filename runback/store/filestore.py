"""Take in an old MLflow file store (meta.yaml folders) by MLflow's own migration.

Nothing of it is changed: the new database is made beside, and its locations are made
right by the index. MLflow's migration gives up at a metric line that stands twice, which
the file store itself writes (a metric logged before log_model): then a copy without
doubles is migrated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from shlex import quote

from runback.errors import StoreError


def is_file_store(mlruns: Path) -> bool:
    """Say whether `mlruns/` holds runs as files, which MLflow 3.17 does not read."""
    return any(mlruns.glob("*/*/meta.yaml"))


def migrate(mlruns: Path, draft: Path) -> None:
    """Make the database `draft` from the file store. Raises StoreError."""
    said = _migrate(mlruns.parent, draft)
    if "UNIQUE constraint failed" in said:
        with tempfile.TemporaryDirectory(dir=draft.parent) as folder:
            _copy_without_doubles(mlruns, Path(folder) / "mlruns")
            said = _migrate(Path(folder), draft)
    if said:
        raise StoreError(
            f"the file store {mlruns} cannot be taken in: {said.strip().splitlines()[-1]}"[:500],
            f"mlflow migrate-filestore --source {quote(str(mlruns.parent))} "
            "--target sqlite:////tmp/try.db   # says more; nothing was changed",
        )


def _migrate(source: Path, draft: Path) -> str:
    """Run MLflow's migration in a process of its own; return what it said if it failed.

    It leaves its database open, which must not be renamed then.
    """
    for left_over in draft.parent.glob(f"{draft.name}*"):
        left_over.unlink()
    words = ["migrate-filestore", "--source", str(source), "--target", f"sqlite:///{draft}"]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words],
        env={**os.environ, "RUNBACK_RECORD": "0", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    return (done.stderr or done.stdout or "no reason given") if done.returncode else ""


def _copy_without_doubles(source: Path, target: Path) -> None:
    """Copy a file store's metadata; artifacts are linked, and doubled metric lines left out."""
    for parent, folders, names in os.walk(source):
        here = target / Path(parent).relative_to(source)
        here.mkdir(parents=True)
        if "artifacts" in folders:
            folders.remove("artifacts")
            (here / "artifacts").symlink_to(Path(parent, "artifacts").absolute())
        for name in names:
            if here.name == "metrics" or "metrics" in here.relative_to(target).parts:
                lines = Path(parent, name).read_bytes().splitlines(keepends=True)
                (here / name).write_bytes(b"".join(dict.fromkeys(lines)))
            else:
                shutil.copyfile(Path(parent, name), here / name)
