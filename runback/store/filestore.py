"""Take in an old MLflow file store (meta.yaml folders) by MLflow's own migration.

Nothing of it is changed: the new database is made beside, and its locations are made
right by the index. MLflow's migration gives up at a metric line that stands twice, which
the file store itself writes (a metric logged before log_model): then a copy without
doubles is migrated.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from runback.errors import StoreError


def is_file_store(mlruns: Path) -> bool:
    """Say whether `mlruns/` holds runs as files, which MLflow 3.17 does not read."""
    return any(mlruns.glob("*/*/meta.yaml"))


def migrate(mlruns: Path, draft: Path) -> None:
    """Make the database `draft` from the file store. Raises StoreError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import IntegrityError, SQLAlchemyError

    try:
        try:
            _migrate(mlruns.parent, draft)
        except IntegrityError:
            with tempfile.TemporaryDirectory(dir=draft.parent) as folder:
                _copy_without_doubles(mlruns, Path(folder) / "mlruns")
                _migrate(Path(folder), draft)
    except (MlflowException, SQLAlchemyError, OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"the file store {mlruns} cannot be taken in: {error}"[:500],
            "mlflow migrate-filestore says more; nothing was changed",
        ) from error


def _migrate(source: Path, draft: Path) -> None:
    from mlflow.store.fs2db import migrate

    for left_over in draft.parent.glob(f"{draft.name}*"):
        left_over.unlink()
    migrate(source, f"sqlite:///{draft}", progress=False)
    # It leaves rows in the -wal file, which a rename would leave behind.
    connection = sqlite3.connect(draft)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


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
