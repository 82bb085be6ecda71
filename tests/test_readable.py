"""Stores of other users are read, and what strangers wrote into one's own."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import plain_environ
from records import make_record, make_store, query, run_index

from runback.runs.run import read
from runback.store import running
from runback.store.alive import Life

AS_ANOTHER = """
import contextlib, io, os, shutil, sys, tempfile
from runback.cli import main, runback
from runback.store import running
other, store, *words = sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()):
    runback.main(["ls", "--json", "--store", other], standalone_mode=False)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.argv[1:] = [*words, "--json", "--store", store]
main()
"""


@pytest.fixture
def mine(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "mine", template)


@pytest.fixture
def theirs(template: Path) -> Iterator[Path]:
    """Return a store that goes on being written to, in a folder that all users can enter."""
    with tempfile.TemporaryDirectory(prefix="runback-theirs-") as folder:
        Path(folder).chmod(0o755)
        store = make_store(Path(folder) / "s", template)
        query(store / "mlflow.db", "PRAGMA journal_mode=WAL")
        make_record(store / "mlruns", status="RUNNING")
        run_index(store)
        yield store
        store.chmod(0o755)


def seen_by_another(mine: Path, store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """List a store as a user who may write nowhere in it; another listing loads the modules."""
    store.chmod(0o555)
    return subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(mine), str(store), *words],
        env=plain_environ(),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("has_log", [False, True], ids=["at rest", "with a log"])
def test_colleagues_store_is_read(mine: Path, theirs: Path, has_log: bool) -> None:
    if has_log:
        rename_in_log(theirs / "mlflow.db", "in the log")
    before = sorted(theirs.iterdir())
    done = seen_by_another(mine, theirs, "ls")
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = json.loads(done.stdout)
    assert (run["name"] == "in the log") is has_log
    assert sorted(theirs.iterdir()) == before


def rename_in_log(database: Path, name: str) -> None:
    """Rename the runs, so that the write-ahead log alone has it, without its -shm."""
    connection = sqlite3.connect(database)
    connection.execute("UPDATE runs SET name = ?", [name])
    connection.commit()
    copy, log = (database.with_name(f"{database.name}{end}") for end in (".copy", "-wal"))
    shutil.copyfile(database, copy)
    content = log.read_bytes()
    connection.close()
    copy.rename(database)
    log.write_bytes(content)


def test_closed_database_is_not_to_be_made_anew(mine: Path, theirs: Path) -> None:
    (theirs / "mlflow.db").chmod(0)
    done = seen_by_another(mine, theirs, "ls")
    assert done.returncode == 3
    assert f"hint: ls -ld {theirs} {theirs}/mlflow.db   # who may read it" in done.stderr


def test_nothing_is_written_to_a_colleagues_store(mine: Path, theirs: Path) -> None:
    (run_id,) = (row[0] for row in query(theirs / "mlflow.db", "SELECT run_uuid FROM runs"))
    done = seen_by_another(mine, theirs, "rm", run_id)
    assert done.returncode == 3
    assert "--rebuild" not in done.stderr


@pytest.mark.parametrize("closed", ["hold", "folder"])
def test_nobody_knows_of_a_run_whose_hold_is_closed(mine: Path, theirs: Path, closed: str) -> None:
    (run_id,) = (row[0] for row in query(theirs / "mlflow.db", "SELECT run_uuid FROM runs"))
    hold = running.hold(theirs, run_id)
    (hold.path if closed == "hold" else theirs / ".runback").chmod(0)
    done = seen_by_another(mine, theirs, "ps")
    (theirs / ".runback").chmod(0o755)
    hold.release()
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = json.loads(done.stdout)
    assert (run["status"], run["life"]) == ("RUNNING", "unknown")


@pytest.mark.parametrize("session", ["**", "x" * 300], ids=["pattern", "long"])
def test_any_session_is_taken(tmp_path: Path, template: Path, session: str) -> None:
    store = make_store(tmp_path / "s", template)
    run_id = "ab" * 16
    tag = {"key": "runback.session", "value": session, "run_uuid": run_id}
    make_record(store / "mlruns", run_id, status="RUNNING", rows={"tags": [tag]})
    running.hold(store, "cd" * 16).release()  # the folder of holds is there
    assert run_index(store).wrong == {}
    assert [run.life for run in read(store, [run_id])] == [Life.AWAY]


def test_who_looks_is_not_taken_for_the_holder(tmp_path: Path) -> None:
    running.hold(tmp_path, "ab" * 16).forget()  # as if it had been killed
    (path,) = (tmp_path / ".runback" / "running").iterdir()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # another reader looks at this moment
        assert not running.is_held(tmp_path, "ab" * 16)
