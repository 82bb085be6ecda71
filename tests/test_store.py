"""The tracking store: made once, whole or not at all, artifacts beside it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY
from processes import Started

from runback.errors import StoreError
from runback.launch import inside
from runback.store import create as store

CREATE = "import sys; from pathlib import Path; from runback.store.create import create; "
CREATE += "create(Path(sys.argv[1]), print)"

LOG = """
import os, mlflow
os.chdir({folder!r})
mlflow.set_experiment("from elsewhere")
with mlflow.start_run():
    mlflow.log_metric("x", 1.0)
    mlflow.log_text("kept", "note.txt")
"""


def ignore(message: str) -> None:
    pass


def creators(database: Path, count: int) -> list[Started]:
    command = [sys.executable, "-c", CREATE, str(database)]
    return [
        Started(command, cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True)
        for _ in range(count)
    ]


def query(database: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that eight processes made at once, in a folder with a space."""
    database = tmp_path_factory.mktemp("a store") / "mlflow.db"
    for process in creators(database, 8):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return database


def test_eight_at_once_make_one_whole_store(made: Path) -> None:
    """MLflow alone loses 5 to 7 of 8 in its migration, which takes no lock."""
    assert query(made, "PRAGMA integrity_check") == [("ok",)]
    tables = {name for (name,) in query(made, "SELECT name FROM sqlite_master")}
    assert {"runs", "logged_models", "alembic_version"} <= tables
    assert not any(str(name).startswith("_alembic_tmp") for name in tables)


def test_store_is_in_wal_mode(made: Path) -> None:
    assert query(made, "PRAGMA journal_mode") == [("wal",)]


def test_default_experiment_keeps_artifacts_beside_the_store(made: Path) -> None:
    rows = query(made, "SELECT artifact_location FROM experiments WHERE experiment_id = 0")
    assert rows == [(str(made.parent / "mlruns" / "0"),)]


def test_nothing_else_is_left(made: Path) -> None:
    left = {path.name for path in made.parent.iterdir()} - {"mlflow.db-shm", "mlflow.db-wal"}
    assert left == {"mlflow.db", ".runback"}
    private = {path.name for path in (made.parent / ".runback").iterdir()}
    assert private == {".gitignore", "identity.lock", "store.json", "store.lock"}


def test_existing_store_is_not_touched(made: Path) -> None:
    before = made.stat()
    store.create(made, ignore)
    assert made.stat().st_mtime_ns == before.st_mtime_ns


def test_script_that_changes_folder_logs_to_the_same_store(made: Path, tmp_path: Path) -> None:
    """Also watches that MLflow still reads the private variable for the artifacts' place."""
    ours = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    environ = inside.variables(made.parent, ours)
    code = LOG.format(folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True)
    (uri,) = query(made, "SELECT artifact_uri FROM runs")[0]
    assert (Path(str(uri)) / "note.txt").read_text() == "kept"
    assert Path(str(uri)).is_relative_to(made.parent / "mlruns")
    assert list(tmp_path.iterdir()) == []


def test_killed_while_it_is_made_leaves_no_half_store(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    (process,) = creators(database, 1)
    drafts = tmp_path / ".runback"
    while not (drafts / "mlflow.db").exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.1)  # in the middle of its migrations
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not database.exists()
    (again,) = creators(database, 1)
    again.communicate()
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
    private = {path.name for path in drafts.iterdir()}
    assert private == {".gitignore", "identity.lock", "store.json", "store.lock"}


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made: Not a directory") as raised:
        store.create(tmp_path / "file" / "mlflow.db", ignore)
    assert raised.value.hint.startswith(f"ls -ld {tmp_path / 'file'}; ")


@pytest.mark.parametrize(("name", "what"), [("a?b", "?"), ("a%41", "%41")])
def test_folder_that_is_another_one_in_a_uri_is_refused(
    tmp_path: Path, name: str, what: str
) -> None:
    root = tmp_path / name
    root.mkdir()
    with pytest.raises(StoreError) as raised:
        inside.prepare_store(root, inside.variables(root, {}), ignore)
    assert (
        str(raised.value) == f'MLflow keeps no store in a folder with "{what}" in its path: {root}'
    )
    assert list(tmp_path.iterdir()) == [root]
    assert list(root.iterdir()) == []
    elsewhere = inside.variables(root, {"MLFLOW_TRACKING_URI": "http://server:5000"})
    inside.prepare_store(root, elsewhere, ignore)


def test_store_of_the_users_own_is_left_to_them(tmp_path: Path) -> None:
    environ = inside.variables(tmp_path, {"MLFLOW_TRACKING_URI": "http://server:5000"})
    assert not inside.lacks_store(tmp_path, environ)
    inside.prepare_store(tmp_path, environ, ignore)
    assert list(tmp_path.iterdir()) == []
