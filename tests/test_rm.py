"""runback rm and restore: as MLflow deletes, on all machines. --purge: none half, none back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import training
from checkpoints import make_run
from conftest import REPOSITORY, plain_environ
from processes import Started
from records import dump, is_sound, make_record, make_store, new_id, query, run_index, run_of

from runback.errors import StoreError
from runback.locked import locked
from runback.record import check
from runback.store import objects, remove, running
from runback.store.errors import RegisteredModels, RunGoesOn
from runback.store.identity import store_id
from runback.store.listing import ACTIVE, DELETED
from runback.store.places import scan
from runback.store.readable import readable


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "störe", template)


def words(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runback", *arguments]


def screen(root: Path, *arguments: str) -> tuple[int, str, str]:
    """Return status, stdout and stderr of `runback` in the folder of a store."""
    done = subprocess.run(
        words(*arguments), cwd=root, env=plain_environ(), capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def stage(root: Path, run_id: str) -> list[tuple[str, bool]]:
    """Return the run's stage and whether it has a time of deletion; [] if it is not listed."""
    sql = "SELECT lifecycle_stage, deleted_time > 0 FROM runs WHERE run_uuid = ?"
    return [(row[0], bool(row[1])) for row in query(root / "mlflow.db", sql, run_id)]


def sync(source: Path, target: Path) -> None:
    """Copy what rsync -a of mlruns/ copies."""
    shutil.copytree(source / "mlruns", target / "mlruns", dirs_exist_ok=True)


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder, each once."""
    found = {p.lstat().st_ino: p.lstat().st_size for p in folder.rglob("*") if p.is_file()}
    return sum(found.values())


def test_rm_and_restore(root: Path) -> None:
    ids = [run_of(make_record(root / "mlruns", digit * 32)) for digit in "abc"]
    run_index(root)
    a, b, c = (run_id[:8] for run_id in ids)
    names = [f"run {run_id[-4:]}" for run_id in ids]
    assert screen(root, "rm", ids[0], names[1]) == (
        0,
        f"{a}  {names[0]}\n{b}  {names[1]}\nundo: runback restore {a} {b}\n",
        "",
    )
    assert [stage(root, run_id) for run_id in ids] == [
        *[[("deleted", True)]] * 2,
        [("active", False)],
    ]
    assert screen(root, "rm", ids[0]) == (
        0,
        f"{a}  {names[0]}  was deleted before\nundo: runback restore {a}\n",
        "",
    )
    assert screen(root, "restore", ids[0], ids[2]) == (
        0,
        f"{a}  {names[0]}\n{c}  {names[2]}  was active before\n",
        "",
    )
    assert stage(root, ids[0]) == [("active", False)]
    assert screen(root, "restore", "-q", ids[1]) == (0, "", "")
    status, out, _ = screen(root, "rm", "--json", ids[1])
    assert (status, json.loads(out)[0]["run_id"]) == (0, ids[1])


def test_all_of_them_or_none(root: Path) -> None:
    run_id = run_of(make_record(root / "mlruns"))
    run_index(root)
    status, out, err = screen(root, "rm", run_id, "nowhere")
    assert (status, out) == (3, "")
    assert err.startswith('error: no run has an id that begins with "nowhere", or that name')
    assert stage(root, run_id) == [("active", False)]


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "copied"])
def test_deletion_and_restoration_travel(root: Path, template: Path, is_own: bool) -> None:
    """What rm changes is noted by the next index, in whichever store, and counts in the other."""
    other = make_store(root.parent / "other", template)
    store = store_id(root) if is_own else store_id(other)
    run_id = run_of(make_record(root / "mlruns", store=store))
    run_index(root)
    sync(root, other)
    run_index(other)
    for mark, expected in ((DELETED, ("deleted", True)), (ACTIVE, ("active", False))):
        remove.mark(root, [run_id], mark)
        assert run_index(root).edited == [run_id]
        sync(root, other)
        run_index(other)
        assert stage(other, run_id) == stage(root, run_id) == [expected]
        assert run_index(other).edited == []


@pytest.mark.parametrize("status_before", ["RUNNING", "FINISHED"])
@pytest.mark.parametrize("command", [["rm"], ["rm", "--force"], ["rm", "--purge", "--force"]])
def test_run_that_is_recorded_here_stays(
    root: Path, command: list[str], status_before: str
) -> None:
    """FINISHED: another process resumed it, and has ended it."""
    run_id = run_of(make_record(root / "mlruns", status=status_before))
    run_index(root)
    hold = running.hold(root, run_id)
    status, out, err = screen(root, *command, run_id)
    hold.release()
    assert (status, out) == (3, "")
    assert err == (
        f"error: {run_id[:8]}: recorded by a process of this machine at this moment\n"
        "hint: runback ps   # what runs, and where\n"
    )
    assert stage(root, run_id) == [("active", False)]


def test_run_whose_process_is_gone_can_be_removed(root: Path) -> None:
    ids = [run_of(make_record(root / "mlruns", status="RUNNING")) for _ in range(2)]
    run_index(root)
    for run_id in ids:
        os.close(running.hold(root, run_id).handle)
    remove.mark(root, ids[:1], DELETED)
    remove.purge(root, ids[1:])
    assert stage(root, ids[0]) == [("deleted", True)]
    run_index(root)
    assert not list((root / ".runback" / "running").iterdir())


@pytest.mark.parametrize("verb", ["mark", "purge"])
def test_run_that_may_go_on_elsewhere_needs_force(root: Path, verb: str) -> None:
    run_id = run_of(make_record(root / "mlruns", status="RUNNING"))
    run_index(root)
    calls: dict[str, Callable[[bool], object]] = {
        "mark": lambda force: remove.mark(root, [run_id], DELETED, force),
        "purge": lambda force: remove.purge(root, [run_id], force),
    }
    with pytest.raises(RunGoesOn, match="RUNNING, and not on this machine"):
        calls[verb](False)
    assert stage(root, run_id) == [("active", False)]
    calls[verb](True)
    assert stage(root, run_id) != [("active", False)]


def test_nested_runs_are_left_and_named(root: Path) -> None:
    parent = new_id()
    tags = [{"key": "mlflow.parentRunId", "value": parent}]
    children = [run_of(make_record(root / "mlruns", rows={"tags": tags})) for _ in range(2)]
    make_record(root / "mlruns", parent)
    run_index(root)
    _, out, _ = screen(root, "rm", parent, children[0])
    assert f"nested in {parent[:8]}, and left: {children[1][:8]}\n" in out
    assert stage(root, children[1]) == [("active", False)]


# For good.


def test_purge_says_what_it_frees_and_frees_it(root: Path) -> None:
    shared, own = b"s" * 40_000, b"o" * 60_000
    gone, models = make_run(root, [0.5, 0.4], [shared, own])
    kept, others = make_run(root, [0.3], [shared])
    run_index(root)
    before, expected = dump(root / "mlflow.db"), size(root)
    name = f"run {gone[-4:]}"
    status, dry, _ = screen(root, "rm", "--purge", "--dry-run", gone)
    amount = dry.splitlines()[1].removeprefix("would free ")
    assert (status, dry) == (0, f"{gone[:8]}  {name}  2 models\nwould free {amount}\n")
    assert dump(root / "mlflow.db") == before
    assert screen(root, "rm", "--purge", gone) == (
        0,
        f"{gone[:8]}  {name}  2 models\nfrees {amount}\nremoved for good: 1 run\n",
        "",
    )
    freed = expected - size(root)
    assert 60_000 < freed < 100_000  # not what the other run uses, too
    assert amount == f"{freed / 1000:.3g} kB"
    text = json.dumps(dump(root / "mlflow.db"))
    assert not [item for item in (gone, *models) if item in text or list(root.rglob(f"*{item}*"))]
    assert all(item in text for item in (kept, *others))
    assert is_sound(root / "mlflow.db")
    assert list(check.problems(scan(root / "mlruns").record(kept), kept, {})) == [
        f"model {others[0]}: its folder is missing"  # for none are given
    ]


def test_bytes_are_counted_where_they_go(root: Path) -> None:
    a, _ = make_run(root, [0.5], [b"x" * 5000])
    b, _ = make_run(root, [0.5], [b"x" * 5000])
    run_index(root)
    with readable(root) as connection:
        runs = remove.doomed(connection, root, [a, b])
    alone = [objects.freed_bytes(root, run.folders.values()) for run in runs]
    folders = [folder for run in runs for folder in run.folders.values()]
    assert objects.freed_bytes(root, folders) == sum(alone) + 5000
    other_name = root / "kept.pt"
    other_name.hardlink_to(next((root / "mlruns").rglob("model.pt")))
    assert objects.freed_bytes(root, folders) == sum(alone)


def test_run_that_was_purged_stays_away(root: Path, template: Path) -> None:
    other = make_store(root.parent / "other", template)
    run_id, _ = make_run(other, [0.5])
    run_index(other)
    sync(other, root)
    run_index(root)
    remove.purge(root, [run_id])  # no index has seen it deleted
    sync(other, root)
    for _ in range(2):
        report = run_index(root)
        assert (report.purged, report.adopted) == ([run_id], [])
        assert stage(root, run_id) == []
    assert stage(other, run_id) == [("active", False)]


def register(root: Path, name: str, version: int, run_id: str | None, source: str) -> None:
    query(root / "mlflow.db", "INSERT OR IGNORE INTO registered_models (name) VALUES (?)", name)
    sql = "INSERT INTO model_versions (name, version, run_id, source, creation_time)"
    values = (name, version, run_id, source, version)
    query(root / "mlflow.db", sql + " VALUES (?, ?, ?, ?, ?)", *values)


def test_registered_models_need_force(root: Path) -> None:
    run_id, models = make_run(root, [0.5, 0.4])
    other, _ = make_run(root, [0.5])
    run_index(root)
    register(root, "digits", 1, run_id, "elsewhere")
    register(root, "digits", 2, None, f"models:/{models[1]}")
    register(root, "digits", 3, other, "elsewhere")
    status, out, err = screen(root, "rm", "--purge", run_id)
    assert (status, out, err) == (
        3,
        "",
        f"error: {run_id[:8]}: registered as digits version 1, digits version 2\n"
        "hint: --force removes these versions too: models:/… loads them no more\n",
    )
    with pytest.raises(RegisteredModels):
        remove.purge(root, [other])
    assert screen(root, "rm", "--purge", "--force", "-q", run_id) == (0, "", "")
    versions = query(root / "mlflow.db", "SELECT version FROM model_versions")
    assert versions == [(3,)]
    assert query(root / "mlflow.db", "SELECT name FROM registered_models") == [("digits",)]


def test_files_on_an_object_store_are_named_and_stay(root: Path) -> None:
    run_id = run_of(make_record(root / "mlruns"))
    run_index(root)
    uri = f"s3://bucket/1/{run_id}/artifacts"
    query(root / "mlflow.db", "UPDATE runs SET artifact_uri = ?", uri)
    status, out, _ = screen(root, "rm", "--purge", run_id)
    assert (status, out.splitlines()[1:]) == (
        0,
        [f"not removed: {uri}", "frees 0 B", "removed for good: 1 run"],
    )
    assert stage(root, run_id) == []


def test_nothing_is_removed_through_a_link(root: Path, tmp_path: Path) -> None:
    run_id = run_of(make_record(root / "mlruns"))
    run_index(root)
    folder = root / "mlruns" / "1" / run_id
    folder.rename(tmp_path / run_id)
    folder.symlink_to(tmp_path / run_id)
    remove.purge(root, [run_id])
    assert stage(root, run_id) == []
    assert (tmp_path / run_id / "artifacts" / "runback" / "run.json").exists()


def test_database_of_another_store_names_no_folder_to_remove(root: Path, template: Path) -> None:
    """What it has noted to go was to go there."""
    run_id, _ = make_run(root, [0.5])
    run_index(root)
    there = make_store(root.parent / "there", template)
    run_index(there)
    noted = json.dumps({run_id: str(root / "mlruns" / "1" / run_id)})
    query(there / "mlflow.db", "INSERT INTO runback_store VALUES ('trash', ?)", noted)
    shutil.copyfile(there / "mlflow.db", root / "mlflow.db")
    with pytest.raises(StoreError, match="copied here from another store"):
        remove.mark(root, [run_id], DELETED)
    for _ in range(2):
        run_index(root)
        assert stage(root, run_id) == [("active", False)]


def test_only_folders_of_runs_and_models_are_removed(root: Path) -> None:
    run_index(root)
    precious = root / "precious" / "artifacts"
    precious.mkdir(parents=True)
    outside = root.parent / "outside"
    outside.mkdir()
    ids = (new_id(), "precious", str(precious.parent), str(outside), "../../precious", ".")
    noted = json.dumps(dict.fromkeys(ids, str(precious.parent)))
    query(root / "mlflow.db", "INSERT INTO runback_store VALUES ('trash', ?)", noted)
    assert run_index(root).wrong == {}
    assert precious.is_dir()
    assert outside.is_dir()


def test_files_that_cannot_be_removed_are_named_and_tried_again(root: Path) -> None:
    run_id = run_of(make_record(root / "mlruns"))
    run_index(root)
    trash = root / ".runback" / "trash"
    trash.write_text("in the way")
    status, _, err = screen(root, "rm", "--purge", run_id)
    folder = root / "mlruns" / "1" / run_id
    assert (status, err.splitlines()[0]) == (
        3,
        "error: removed from the lists, and not from the disk",
    )
    assert str(folder) in err
    assert list(run_index(root).wrong) == [str(folder)]
    trash.unlink()
    assert run_index(root).wrong == {}
    assert not folder.exists()


# Others at the same time; kills.


def test_waits_for_a_training_that_writes(root: Path) -> None:
    run_id = run_of(make_record(root / "mlruns"))
    run_index(root)
    writer = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    rm = Started(words("rm", "-q", run_id), cwd=root, env=plain_environ())
    with pytest.raises(subprocess.TimeoutExpired):
        rm.wait(2)
    writer.execute("COMMIT")
    writer.close()
    assert rm.wait(180) == 0
    assert stage(root, run_id) == [("deleted", True)]


def test_waits_for_an_index_and_says_so(root: Path) -> None:
    run_id = run_of(make_record(root / "mlruns"))
    run_index(root)
    with locked(root / ".runback" / "index.lock"):
        rm = Started(
            words("rm", "-q", run_id),
            cwd=root,
            env=plain_environ(),
            stderr=subprocess.PIPE,
        )
        assert rm.stderr
        said = rm.stderr.readline()
        assert stage(root, run_id) == [("active", False)]
    assert said == "runback: waits for `runback index`, which is at work here\n"
    assert rm.communicate(timeout=180)[1] == ""
    assert stage(root, run_id) == [("deleted", True)]


def killed_after(seconds: float, work: Callable[[], object]) -> bool:
    """Do the work in a child process, killed after this time; say whether it was done."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def took(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def instants(duration_s: float, count: int) -> Iterator[float]:
    yield from (duration_s * (i + 0.5) / count for i in range(count))


def test_purge_killed_at_30_instants(root: Path) -> None:
    """What is listed is whole; the next index, or the same command, ends what was begun."""
    runs = [make_run(root, [0.5, 0.4, 0.3]) for _ in range(31)]
    run_index(root)
    duration_s = took(lambda: remove.purge(root, [runs[30][0]]))
    done = 0
    for i, seconds in enumerate(instants(duration_s * 1.2, 30)):
        run_id, models = runs[i]
        done += killed_after(seconds, partial(remove.purge, root, [run_id]))
        places = scan(root / "mlruns")
        if stage(root, run_id):
            assert list(check.problems(places.record(run_id), run_id, places.artifacts)) == []
            remove.purge(root, [run_id])
        elif i % 2:
            assert remove.finish(root) == {}
        else:
            assert run_index(root).adopted == []
        assert stage(root, run_id) == []
        assert not [item for item in (run_id, *models) if list(root.rglob(f"*{item}*"))]
        assert is_sound(root / "mlflow.db")
    assert done < 30
    assert not list((root / ".runback" / "objects").rglob("*/*"))


# MLflow's own.

TWO = """
import mlflow
with mlflow.start_run(run_name="by mlflow") as one: pass
with mlflow.start_run(run_name="by runback"): pass
mlflow.delete_run(one.info.run_id)
"""
LISTED = """
import sys, mlflow
client = mlflow.MlflowClient()
gone = client.search_runs(["0"], run_view_type=mlflow.entities.ViewType.DELETED_ONLY)
client.restore_run(next(run.info.run_id for run in gone if run.info.run_name == "by runback"))
print(*sorted(run.info.run_name for run in gone), sep=",")
"""


@pytest.fixture
def store(tmp_path: Path, template: Path) -> training.Store:
    return training.make(tmp_path / "store", template)


def test_deleted_as_mlflow_deletes(store: training.Store) -> None:
    store.train(TWO)
    assert store.runback("rm", "by runback").returncode == 0
    rows = query(store.database, "SELECT lifecycle_stage, typeof(deleted_time) FROM runs")
    assert rows == [("deleted", "integer")] * 2
    times = [row[0] for row in query(store.database, "SELECT deleted_time FROM runs")]
    assert 0 <= times[1] - times[0] < 600_000
    assert store.train(LISTED).stdout == "by mlflow,by runback\n"
    sql = "SELECT lifecycle_stage, deleted_time FROM runs WHERE name = 'by runback'"
    assert query(store.database, sql) == [("active", None)]


def test_purge_of_a_run_that_has_everything(store: training.Store) -> None:
    """No row of any table mentions it, its models or traces; the tables are sound."""
    store.train((REPOSITORY / "tests" / "everything.py").read_text())
    store.index()
    sql = "SELECT run_uuid FROM runs WHERE name = 'parent'"
    ((run_id,),) = query(store.database, sql)
    items = [run_id]
    for sql in (
        "SELECT model_id FROM logged_models",
        "SELECT request_id FROM trace_info",
        "SELECT dataset_uuid FROM datasets",
    ):
        items += [row[0] for row in query(store.database, sql)]
    assert len(items) >= 4
    assert store.runback("rm", "--purge", run_id).returncode == 3  # it is registered
    done = store.runback("rm", "--purge", "--force", run_id)
    assert (done.returncode, done.stderr) == (0, "")
    child_tag = [("mlflow.parentRunId", run_id)]
    assert query(store.database, "SELECT key, value FROM tags WHERE value = ?", run_id) == child_tag
    tables = dump(store.database)
    del tables["tags"]
    assert not [item for item in items if item in json.dumps(tables)]
    assert not [item for item in items if list(store.root.rglob(f"*{item}*"))]
    assert is_sound(store.database)
    assert store.index()["adopted"] == []
