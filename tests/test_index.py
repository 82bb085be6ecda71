"""runback index over records and databases: adoption, refresh, damage, hostility, locations."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make_run
from conftest import REPOSITORY
from records import (
    STORE,
    dump,
    is_sound,
    make_record,
    make_store,
    new_id,
    query,
    run_index,
    run_of,
)

from runback.errors import StoreError
from runback.record import fields, files, manifest, metrics
from runback.record.metrics import LARGEST, Point
from runback.store import running
from runback.store.identity import store_id


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "lap töp", template)


def test_record_is_adopted_with_everything_at_its_place(root: Path) -> None:
    points = [
        Point("a", 0.1, 5, 0, False),
        Point("a", 0.0, 6, 1, True),
        Point("a", LARGEST, 7, 2, False),
        Point("b", 5e-324, 8, -1, False),
    ]
    record = make_record(root / "mlruns", points=points)
    report = run_index(root)
    database = root / "mlflow.db"
    assert report.adopted == [run_of(record)]
    assert query(database, "SELECT artifact_uri, user_id, status, end_time FROM runs") == [
        (str(record.parent), "ada", "FINISHED", 1_700_000_100_000)
    ]
    rows = query(database, "SELECT key, value, timestamp, step, is_nan FROM metrics")
    assert sorted(map(repr, rows)) == sorted(repr((*p[:4], int(p.is_nan))) for p in points)
    latest = query(database, "SELECT key, value, step FROM latest_metrics ORDER BY key")
    assert latest == [("a", LARGEST, 2), ("b", 5e-324, -1)]
    locations = query(database, "SELECT artifact_location FROM experiments ORDER BY 1")
    assert locations == [(f"{root}/mlruns/0",), (f"{root}/mlruns/1",)]
    assert is_sound(database)


def test_second_index_has_nothing_to_do(root: Path) -> None:
    make_record(root / "mlruns")
    run_index(root)
    before = dump(root / "mlflow.db")
    report = run_index(root)
    done = (report.adopted, report.refreshed, report.completed, report.edited, report.moved)
    assert not any(done)
    assert dump(root / "mlflow.db") == before


def test_run_that_was_copied_while_it_went_on_is_refreshed(root: Path) -> None:
    run_id = new_id()
    record = make_record(root / "mlruns", run_id, status="RUNNING")
    run_index(root)
    assert query(root / "mlflow.db", "SELECT status FROM runs") == [("RUNNING",)]
    for path in record.iterdir():
        path.unlink()
    record.rmdir()
    points = [Point("loss", 0.5, 1, 0, False), Point("loss", 0.25, 2, 1, False)]
    make_record_again = record.parent.parent.parent / "x"
    make_record(make_record_again, run_id, points)
    (make_record_again / "1" / run_id / "artifacts" / "runback").rename(record)
    report = run_index(root)
    assert report.refreshed == [run_id]
    assert query(root / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",)]
    assert query(root / "mlflow.db", "SELECT value FROM latest_metrics") == [(0.25,)]


def test_experiments_are_told_by_name_when_ids_collide(root: Path) -> None:
    make_record(root / "mlruns", experiment="digits", experiment_id=1)
    run_index(root)
    other = make_record(root / "mlruns", experiment="faces", experiment_id=1)
    same = make_record(root / "mlruns", experiment="digits", experiment_id=7)
    run_index(root)
    sql = "SELECT e.name FROM experiments e JOIN runs USING (experiment_id) WHERE run_uuid = ?"
    names = {
        run: query(root / "mlflow.db", sql, run)[0][0] for run in (run_of(other), run_of(same))
    }
    assert names == {run_of(other): "faces", run_of(same): "digits"}
    assert len(query(root / "mlflow.db", "SELECT * FROM experiments")) == 3
    assert is_sound(root / "mlflow.db")


@pytest.mark.parametrize("has_database", [True, False])
def test_dry_run_changes_nothing_and_says_what_it_would_do(root: Path, has_database: bool) -> None:
    make_record(root / "mlruns")
    if not has_database:
        (root / "mlflow.db").unlink()
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    words = [sys.executable, "-m", "runback", "index", "--dry-run", "--store", str(root)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.startswith("0 runs: would be: 1 adopted")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


# What is damaged is named; what can be read of it is there; the others are untouched.


def damage_truncated_line(record: Path) -> None:
    with (record / files.METRICS).open("ab") as file:
        file.write(b'["loss", 0.2')


def damage_empty_manifest(record: Path) -> None:
    (record / files.MANIFEST).write_text("{}")


def damage_manifest_is_no_json(record: Path) -> None:
    (record / files.MANIFEST).write_text("<html>")


def damage_newer_format(record: Path) -> None:
    for name in (files.MANIFEST, files.RUN):
        content = json.loads((record / name).read_text())
        (record / name).write_text(json.dumps({**content, "format": 2}))


def damage_no_code(record: Path) -> None:
    known = manifest.read(record, run_of(record))
    known["files"][files.CODE] = {"digest": "sha256:00", "size_bytes": 1}
    files.write_json(record / files.MANIFEST, known)


def damage_other_digest(record: Path) -> None:
    content = json.loads((record / files.RUN).read_text())
    content["rows"]["params"][0]["value"] = "0.2"
    files.write_json(record / files.RUN, content)


def damage_run_json_missing(record: Path) -> None:
    (record / files.RUN).unlink()


def damage_middle_of_metrics(record: Path) -> None:
    path = record / files.METRICS
    path.write_bytes(path.read_bytes() + b'what?\n["loss", 0.1, 3, 3]\n')


@pytest.mark.parametrize(
    ("damage", "is_listed", "named"),
    [
        (damage_truncated_line, True, "metrics.jsonl differs from its digest"),
        (damage_empty_manifest, True, "manifest.json has format None"),
        (damage_manifest_is_no_json, True, "manifest.json is not JSON"),
        (damage_newer_format, False, "has format 2, newer than 1: update runback"),
        (damage_no_code, True, "code.tar.gz is missing"),
        (damage_other_digest, True, "run.json differs from its digest"),
        (damage_run_json_missing, False, "run.json is missing"),
        (damage_middle_of_metrics, True, "metrics.jsonl has a line that is no metric point"),
    ],
)
def test_damaged_record_is_named_and_the_others_are_untouched(
    root: Path, damage: object, is_listed: bool, named: str
) -> None:
    good, bad = make_record(root / "mlruns"), make_record(root / "mlruns")
    assert callable(damage)
    damage(bad)
    report = run_index(root)
    listed = {row[0] for row in query(root / "mlflow.db", "SELECT run_uuid FROM runs")}
    assert listed == ({run_of(good), run_of(bad)} if is_listed else {run_of(good)})
    assert named in report.wrong[str(bad)]
    assert str(good) not in report.wrong
    again = run_index(root)
    assert again.wrong == report.wrong, "what is wrong stays listed until it is mended"


def test_half_a_line_of_a_run_that_goes_on_is_no_damage(root: Path) -> None:
    damage_truncated_line(make_record(root / "mlruns", status="RUNNING"))
    report = run_index(root)
    assert len(report.adopted) == 1
    assert not report.wrong
    assert query(root / "mlflow.db", "SELECT COUNT(*) FROM metrics") == [(1,)]


def test_mended_record_is_listed(root: Path) -> None:
    record = make_record(root / "mlruns")
    content = (record / files.RUN).read_bytes()
    (record / files.RUN).unlink()
    run_index(root)
    files.replace(record / files.RUN, content)
    report = run_index(root)
    assert report.adopted == [run_of(record)]
    assert not report.wrong


# Hostile records.


def outside(tmp_path: Path) -> set[Path]:
    return {path for path in tmp_path.rglob("*") if "lap töp" not in str(path)}


def test_record_in_a_folder_that_is_no_run_id(root: Path) -> None:
    record = make_record(root / "mlruns", "x" * 32)
    report = run_index(root)
    assert report.wrong == {str(record.parent.parent): "is not the name of a run"}
    assert query(root / "mlflow.db", "SELECT * FROM runs") == []


def test_record_of_another_run_is_refused(root: Path) -> None:
    victim = make_record(root / "mlruns")
    run_index(root)
    attacker = make_record(root / "mlruns", experiment_id=2)
    content = json.loads((attacker / files.RUN).read_text())
    content["rows"]["runs"][0]["run_uuid"] = run_of(victim)
    content["rows"]["runs"][0]["name"] = "mine now"
    content["rows"]["params"] = [{"key": "lr", "value": "9", "run_uuid": run_of(victim)}]
    files.write_json(attacker / files.RUN, content)
    run_index(root)
    name = query(root / "mlflow.db", "SELECT name FROM runs WHERE run_uuid = ?", run_of(victim))
    assert name != [("mine now",)]
    params = query(
        root / "mlflow.db", "SELECT value FROM params WHERE run_uuid = ?", run_of(victim)
    )
    assert params == [("0.1",)]


@pytest.mark.parametrize("part", ["run", "artifacts", "record", "experiment", "manifest"])
def test_symbolic_links_out_of_the_store_are_not_followed(
    root: Path, tmp_path: Path, part: str
) -> None:
    elsewhere = make_record(tmp_path / "elsewhere" / "mlruns")
    run_id = run_of(elsewhere)
    target = {
        "experiment": elsewhere.parents[2],
        "run": elsewhere.parents[1],
        "artifacts": elsewhere.parent,
        "record": elsewhere,
        "manifest": elsewhere / files.MANIFEST,
    }[part]
    link = root / "mlruns" / target.relative_to(tmp_path / "elsewhere" / "mlruns")
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    if part == "manifest":
        (link.parent / files.RUN).write_bytes((elsewhere / files.RUN).read_bytes())
    report = run_index(root)
    assert any("symbolic link" in reason for reason in report.wrong.values())
    uris = query(root / "mlflow.db", "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)
    assert all(uri.startswith(str(root)) for (uri,) in uris)


def test_every_adopted_location_lies_in_this_store(root: Path) -> None:
    run_id, model, trace = new_id(), f"m-{new_id()}", f"tr-{new_id()}"
    rows = {
        "logged_models": [
            {
                "model_id": model,
                "experiment_id": 1,
                "name": "m",
                "artifact_location": "/etc",
                "creation_timestamp_ms": 1,
                "last_updated_timestamp_ms": 1,
                "status": 2,
                "lifecycle_stage": "active",
                "source_run_id": run_id,
            }
        ],
        "registered_models": [{"name": "best", "creation_time": 1, "last_updated_time": 1}],
        "model_versions": [
            {
                "name": "best",
                "version": 1,
                "creation_time": 2,
                "source": "/etc",
                "storage_location": "file:///etc/passwd",
                "run_id": run_id,
                "status": "READY",
            }
        ],
        "trace_info": [
            {"request_id": trace, "experiment_id": 1, "timestamp_ms": 1, "status": "OK"}
        ],
        "trace_tags": [{"key": "mlflow.artifactLocation", "value": "/etc", "request_id": trace}],
        "trace_request_metadata": [
            {"key": "mlflow.sourceRun", "value": run_id, "request_id": trace}
        ],
    }
    make_record(root / "mlruns", run_id, rows=rows)
    database = root / "mlflow.db"
    run_index(root)
    found = [
        *query(database, "SELECT artifact_uri FROM runs"),
        *query(database, "SELECT artifact_location FROM logged_models"),
        *query(database, "SELECT value FROM trace_tags"),
        *query(database, "SELECT artifact_location FROM experiments"),
    ]
    assert len(found) == 5
    assert all(uri.startswith(f"{root}/mlruns/") and ".." not in uri for (uri,) in found)
    versions = query(database, "SELECT source, storage_location FROM model_versions")
    assert versions == [(None, None)]
    assert is_sound(database)


def test_another_runs_model_cannot_be_claimed(root: Path) -> None:
    model, owner = f"m-{new_id()}", new_id()

    def rows(run_id: str, name: str) -> dict[str, object]:
        row = {"model_id": model, "experiment_id": 1, "name": name, "artifact_location": "x"}
        times = {"creation_timestamp_ms": 1, "last_updated_timestamp_ms": 1, "status": 2}
        tag = {"model_id": model, "experiment_id": 1, "tag_key": "k", "tag_value": name}
        return {
            "logged_models": [{**row, **times, "source_run_id": run_id}],
            "logged_model_tags": [tag],
        }

    make_record(root / "mlruns", owner, rows=rows(owner, "honest"))
    run_index(root)
    thief = new_id()
    make_record(root / "mlruns", thief, rows=rows(thief, "stolen"))
    run_index(root)
    found = query(root / "mlflow.db", "SELECT name, source_run_id FROM logged_models")
    assert found == [("honest", owner)]
    assert query(root / "mlflow.db", "SELECT tag_value FROM logged_model_tags") == [("honest",)]


@pytest.mark.parametrize(
    "row",
    [
        {"status": "HACKED"},
        {"lifecycle_stage": "gone"},
        {"name": "\ud800"},
        {"x'); DROP TABLE runs; --": 1},
        {"run_uuid": "'; DROP TABLE runs; --"},
    ],
)
def test_rows_that_are_not_mlflows_do_no_harm(root: Path, row: dict[str, object]) -> None:
    bad, good = make_record(root / "mlruns"), make_record(root / "mlruns")
    content = json.loads((bad / files.RUN).read_text())
    content["rows"]["runs"][0] |= row
    (bad / files.RUN).write_text(json.dumps(content))
    report = run_index(root)
    listed = {run for (run,) in query(root / "mlflow.db", "SELECT run_uuid FROM runs")}
    assert run_of(good) in listed
    assert listed <= {run_of(good), run_of(bad)}
    assert (run_of(bad) in listed) or str(bad) in report.wrong
    assert is_sound(root / "mlflow.db")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"format": 1, "run_id": 1e999}',
        b'{"format": true}',
        b"\xff\xfe",
        b'{"format": 1, "rows": {"runs": [{"a": {}}]}}',
    ],
)
def test_run_json_that_is_nonsense(root: Path, content: bytes) -> None:
    record = make_record(root / "mlruns")
    (record / files.RUN).write_bytes(content)
    report = run_index(root)
    assert str(record) in report.wrong
    assert query(root / "mlflow.db", "SELECT * FROM runs") == []


def test_line_of_ten_gigabytes_is_not_read(root: Path) -> None:
    record = make_record(root / "mlruns")
    for name in (files.METRICS, files.RUN, files.MANIFEST):
        with (record / name).open("r+b") as file:
            file.truncate(10_000_000_000)  # a hole: it takes no room
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\n"
    code += "from records import run_index; from pathlib import Path; import sys\n"
    code += "print(*run_index(Path(sys.argv[1])).wrong.values())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert "has 10000000000 bytes" in done.stdout


def test_pipe_instead_of_a_file_does_not_hang(root: Path) -> None:
    record = make_record(root / "mlruns")
    (record / files.MANIFEST).unlink()
    os.mkfifo(record / files.MANIFEST)
    assert "is not a plain file" in run_index(root).wrong[str(record)]


@pytest.mark.parametrize(
    "edit",
    [
        {"tag:x": {"value": 3, "time_ms": 1}},
        {"lifecycle_stage": {"value": "gone", "time_ms": 1}},
        {"artifact_uri": {"value": "/etc", "time_ms": 1}},
        {"name": {"value": "x", "time_ms": 2**60}},
        {"name": {"value": "x", "time_ms": -1}},
        {"name": "x"},
        [],
    ],
)
def test_edits_that_are_nonsense_are_named_and_left_out(root: Path, edit: object) -> None:
    record = make_record(root / "mlruns")
    files.write_json(fields.path_of(record, "evil"), {"format": 1, "fields": edit})
    report = run_index(root)
    assert "edits-evil.json" in report.wrong[str(record)]
    assert query(root / "mlflow.db", "SELECT name FROM runs") == [(f"run {run_of(record)[-4:]}",)]


def test_names_with_sql_and_unicode_are_names(root: Path) -> None:
    name = "Robert'); DROP TABLE runs;-- ☃ \x1b[31m"
    make_record(root / "mlruns", experiment=name, points=[Point(name, 1.0, 1, 1, False)])
    run_index(root)
    assert (name,) in query(root / "mlflow.db", "SELECT name FROM experiments")
    assert query(root / "mlflow.db", "SELECT key FROM metrics") == [(name,)]


# The database and its schema.


def test_schema_of_the_previous_minor_is_taken_as_it_is(root: Path) -> None:
    query(root / "mlflow.db", "UPDATE alembic_version SET version_num = 'b7e2c1a4d9f3'")
    make_record(root / "mlruns")
    assert len(run_index(root).adopted) == 1
    heads = query(root / "mlflow.db", "SELECT version_num FROM alembic_version")
    assert heads == [("b7e2c1a4d9f3",)]


def test_other_schemas_are_refused_with_the_command_that_upgrades(root: Path) -> None:
    query(root / "mlflow.db", "UPDATE alembic_version SET version_num = 'f5a4f2784254'")
    before = dump(root / "mlflow.db")
    with pytest.raises(StoreError, match="has schema f5a4f2784254") as caught:
        run_index(root)
    assert "mlflow db upgrade" in caught.value.hint
    assert "cp " in caught.value.hint
    assert dump(root / "mlflow.db") == before


@pytest.mark.parametrize(
    "content", [b"", b"not a database" * 1000, b"SQLite format 3\0" + b"x" * 9000]
)
def test_file_that_is_no_mlflow_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        run_index(tmp_path)
    assert "--rebuild" in caught.value.hint
    assert (tmp_path / "mlflow.db").read_bytes() == content


def test_run_whose_process_is_gone_is_ended(root: Path) -> None:
    run_id = new_id()
    make_record(root / "mlruns", run_id, status="RUNNING", store=store_id(root))
    (root / ".runback" / "running").mkdir(parents=True)
    (root / ".runback" / "running" / run_id).touch()
    run_index(root)  # adopts it
    assert run_index(root).ended == [run_id]
    status = query(root / "mlflow.db", "SELECT status, end_time > start_time FROM runs")
    assert status == [("KILLED", 1)]
    assert not run_index(root).ended
    assert not list((root / ".runback" / "running").iterdir())


def test_metrics_of_a_model_that_comes_later_are_kept(root: Path) -> None:
    model, trainer, judge = f"m-{new_id()}", new_id(), new_id()
    metric = {
        "model_id": model,
        "metric_name": "f1",
        "metric_timestamp_ms": 1,
        "metric_step": 0,
        "metric_value": math.inf,
        "experiment_id": 1,
        "run_id": judge,
    }
    make_record(root / "mlruns", judge, rows={"logged_model_metrics": [metric]})
    run_index(root)
    assert is_sound(root / "mlflow.db")
    row = {"model_id": model, "experiment_id": 1, "name": "m", "artifact_location": "x"}
    times = {"creation_timestamp_ms": 1, "last_updated_timestamp_ms": 1, "status": 2}
    models = [{**row, **times, "source_run_id": trainer}]
    make_record(root / "mlruns", trainer, rows={"logged_models": models})
    run_index(root)
    values = query(root / "mlflow.db", "SELECT metric_value FROM logged_model_metrics")
    assert values == [(math.inf,)]


def test_store_name_is_in_the_records_of_this_store_alone(root: Path) -> None:
    record = make_record(root / "mlruns")
    run_index(root)
    assert manifest.read(record, run_of(record))["store"] == STORE
    assert metrics.count(record / files.METRICS) == 1


# What a review found; each of these lost or misplaced something.


def test_record_of_another_store_is_not_begun_anew_here(root: Path) -> None:
    """Its folder was removed, and the run then edited: the true record is elsewhere."""
    record = make_record(root / "mlruns")
    run_index(root)
    shutil.rmtree(root / "mlruns")
    query(root / "mlflow.db", "UPDATE runs SET name = 'edited'")
    run_index(root)
    run_index(root)
    assert not record.exists()


def own_record(root: Path, **more: Any) -> Path:
    return make_record(root / "mlruns", store=store_id(root), **more)


def test_backup_of_the_database_that_was_put_back_loses_nothing(root: Path) -> None:
    run_id = new_id()
    points = [Point("loss", value, 1, step, False) for step, value in enumerate((0.5, 0.25))]
    record = own_record(root, run_id=run_id, status="RUNNING", points=points[:1])
    run_index(root)
    backup = (root / "mlflow.db").read_bytes()
    shutil.rmtree(record)
    late = [{"key": k, "value": "1", "run_uuid": run_id} for k in ("lr", "late")]
    own_record(root, run_id=run_id, rows={"params": late}, points=points)
    run_index(root)
    content = (record / files.RUN).read_bytes()
    for path in root.glob("mlflow.db*"):
        path.unlink()
    (root / "mlflow.db").write_bytes(backup)
    run_index(root)
    assert (record / files.RUN).read_bytes() == content
    assert query(root / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",)]
    assert query(root / "mlflow.db", "SELECT COUNT(*) FROM params") == [(2,)]
    assert query(root / "mlflow.db", "SELECT COUNT(*) FROM metrics") == [(2,)]


def test_edits_in_a_project_that_was_moved_are_noted(root: Path, tmp_path: Path) -> None:
    own_record(root)
    run_index(root)
    query(root / "mlflow.db", "UPDATE runs SET name = 'mine'")
    query(root / "mlflow.db", "UPDATE tags SET value = 'two'")
    moved = tmp_path / "lap töp moved"
    shutil.copytree(root, moved)
    assert len(run_index(moved).edited) == 1
    assert query(moved / "mlflow.db", "SELECT name FROM runs") == [("mine",)]
    assert query(moved / "mlflow.db", "SELECT value FROM tags") == [("two",)]


def test_write_ahead_log_of_a_deleted_database_does_not_enter_the_next(root: Path) -> None:
    make_record(root / "mlruns")
    code = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1])\n"
    code += "c.execute('PRAGMA journal_mode=WAL'); c.execute(\"INSERT INTO experiments"
    code += " (experiment_id, name) VALUES (7, 'ghost')\"); c.commit(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(root / "mlflow.db")], check=True)
    assert (root / "mlflow.db-wal").stat().st_size > 0
    (root / "mlflow.db").unlink()
    words = [sys.executable, "-m", "runback", "index", "--store", str(root)]
    subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True)
    assert ("ghost",) not in query(root / "mlflow.db", "SELECT name FROM experiments")
    assert is_sound(root / "mlflow.db")


def test_nothing_is_written_through_a_strangers_link(root: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    record = make_record(root / "mlruns")
    (record / f".edits-{store_id(root)}.json.draft").symlink_to(victim)
    run_index(root)
    query(root / "mlflow.db", "UPDATE runs SET name = 'edited'")
    assert run_index(root).edited
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("part", ["record", "artifacts"])
def test_record_that_became_a_link_is_not_written_to(root: Path, tmp_path: Path, part: str) -> None:
    record = own_record(root)
    run_index(root)
    folder = record if part == "record" else record.parent
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    query(root / "mlflow.db", "UPDATE runs SET name = 'edited', end_time = end_time + 1")
    run_index(root)
    assert {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "rows",
    [
        {"experiments": [{"experiment_id": 2**63 - 1, "name": "x"}]},
        {"experiments": [{"experiment_id": 1, "name": "x", "artifact_location": "s3://[x"}]},
        {"datasets": [{"dataset_uuid": "a", "name": "n", "digest": "d"}]},
        {"inputs": [{"source_id": {}}]},
        {"tags": [{"key": "a", "value": "file://[/a/artifacts"}]},
        {"tags": [{"value": "a"}]},
        {"model_versions": [{"name": "n", "version": 1, "source": "http://["}]},
    ],
)
def test_hostile_rows_do_not_end_the_index(root: Path, rows: dict[str, Any]) -> None:
    good = make_record(root / "mlruns")
    make_record(root / "mlruns", rows=rows)
    run_index(root)
    run_index(root)
    listed = {run for (run,) in query(root / "mlflow.db", "SELECT run_uuid FROM runs")}
    assert run_of(good) in listed
    assert is_sound(root / "mlflow.db")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE runback_runs SET fields = '{', edits = '[1]'",
        "UPDATE runback_store SET value = 'nonsense' WHERE name = 'cursor'",
        "DELETE FROM runback_store",
        'UPDATE runback_runs SET fields = \'["n", "deleted", 1]\', stamp = 3',
    ],
)
def test_nonsense_in_the_memory_is_forgotten(root: Path, sql: str) -> None:
    record = make_record(root / "mlruns")
    run_index(root)
    query(root / "mlflow.db", sql)
    make_record(root / "mlruns")
    run_index(root)
    assert len(query(root / "mlflow.db", "SELECT * FROM runs")) == 2
    assert (f"run {run_of(record)[-4:]}",) in query(root / "mlflow.db", "SELECT name FROM runs")


def test_database_with_triggers_on_our_tables_is_refused(root: Path) -> None:
    query(
        root / "mlflow.db",
        "CREATE TRIGGER evil AFTER UPDATE ON runs BEGIN UPDATE runs SET artifact_uri = '/etc'; END",
    )
    with pytest.raises(StoreError, match="has triggers or views"):
        run_index(root)


def test_edit_while_the_record_was_damaged_is_noted_when_it_is_mended(root: Path) -> None:
    record = make_record(root / "mlruns")
    run_index(root)
    content = (record / files.RUN).read_bytes()
    files.replace(record / files.RUN, b"{")
    query(root / "mlflow.db", "UPDATE runs SET name = 'edited'")
    run_index(root)
    files.replace(record / files.RUN, content)
    assert run_index(root).edited
    assert query(root / "mlflow.db", "SELECT name FROM runs") == [("edited",)]


def test_artifacts_that_are_elsewhere_are_found_by_verify(root: Path) -> None:
    run_id = new_id()
    make_record(root / "mlruns", run_id)
    run_index(root)
    shutil.rmtree(root / "mlruns")
    words = [sys.executable, "-m", "runback", "verify", "--store", str(root), run_id[:31]]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode in (2, 3)
    assert done.stderr.startswith("error: ")


def test_content_of_a_checkpoint_that_was_never_finished_is_removed(root: Path) -> None:
    """Its process was killed between the rename of its folder and the note that it is ready."""
    run_id, models = make_run(root, [0.5, 0.4], status="RUNNING", store=store_id(root))
    run_index(root)
    query(root / "mlflow.db", "UPDATE logged_models SET status = 1 WHERE model_id = ?", models[1])
    running.hold(root, run_id).forget()
    objects = root / ".runback" / "objects"
    run_index(root, dry_run=True)
    assert len(list(objects.glob("*/*"))) == 2
    run_index(root)
    (kept,) = objects.glob("*/*")
    assert kept.samefile(root / "mlruns" / "1" / "models" / models[0] / "artifacts" / "model.pt")


def test_draft_of_a_hold_that_was_killed_is_removed(root: Path) -> None:
    """Named by a kill of 1 in 200 trainings, between the making of the file and its rename."""
    folder = root / ".runback" / "running"
    folder.mkdir(parents=True)
    (folder / f".{new_id()}.4711").touch()
    time.sleep(1.1)
    run_index(root)
    assert list(folder.iterdir()) == []
