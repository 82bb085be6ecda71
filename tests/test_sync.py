"""Runs that travel: two machines, rsync over ssh between them, and an index on each."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import machines
import pytest
from conftest import REPOSITORY
from machines import EDIT, LONG, OPEN, SMALL, WHOLE, Lab, Machine, differences, pull, push, wait_for

sys.path.append(str(REPOSITORY / "pics"))
import browser
import make

NAMED = "[...document.querySelectorAll('*')].findLast(e => e.innerText?.trim() === '{}')"


def edit(machine: Machine, *calls: tuple[str, ...]) -> None:
    machine.script(EDIT, json.dumps(calls))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if lacking := [name for name in machines.PROGRAMS if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(lacking)} for rsync over ssh")
    with machines.lab() as made:
        yield made


@pytest.fixture(scope="module")
def server(lab: Lab) -> Machine:
    """Return a server with a run that has everything, and small ones."""
    machine = lab.server("server")
    machine.script(WHOLE)
    machine.script(SMALL, "digits", "noted", "unwanted", "disputed", "purged", "heavy")
    machine.index()
    return machine


@pytest.fixture(scope="module")
def blank(lab: Lab) -> Path:
    """Return an empty database, as plain MLflow makes one: to make it takes seconds."""
    machine = lab.server("blank")
    machine.index()
    database = machine.folder / "mlflow.db"
    words = "DROP TABLE runback_runs; DROP TABLE runback_store"
    subprocess.run([sys.executable, "-c", SQL, str(database), words], check=True)
    return database


SQL = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"


@pytest.fixture
def laptop(lab: Lab, blank: Path, request: pytest.FixtureRequest) -> Machine:
    """Return a laptop with an empty store, of a user of its own."""
    machine = lab.laptop(request.node.name.removeprefix("test_")[:40])
    database = machine.folder / "mlflow.db"
    shutil.copy(blank, database)
    machines.owner(machine, database)
    return machine


def outside(machine: Machine) -> list[str]:
    """Return the paths in the database that lead to files elsewhere than in this mlruns/."""
    queries = (
        "SELECT artifact_uri FROM runs",
        "SELECT artifact_location FROM experiments",
        "SELECT artifact_location FROM logged_models",
        "SELECT storage_location FROM model_versions",
        "SELECT value FROM trace_tags WHERE key = 'mlflow.artifactLocation'",
    )
    found = [location for query in queries for (location,) in machine.sql(query) if location]
    assert found
    return [place for place in found if not Path(place).is_relative_to(machine.mlruns)]


def test_users_way(lab: Lab, server: Machine) -> None:
    """Rsync and index on a new laptop: every table as on the server, and everything opens."""
    laptop = lab.laptop("new laptop")
    pull(laptop, server, "-e", laptop.environ["RSYNC_RSH"])
    report = laptop.index()
    assert sorted(report["adopted"]) == sorted(server.runs().values())
    assert report["wrong"] == {}
    assert differences(laptop.tables(), server.tables()) == {}
    assert {name for name, rows in laptop.tables().items() if rows} >= {
        *("params", "tags", "metrics", "latest_metrics", "datasets", "inputs", "input_tags"),
        *("logged_models", "model_versions", "registered_models", "spans", "trace_info"),
    }
    assert outside(laptop) == []
    run = laptop.runs()["whole"]
    ((model,),) = laptop.sql("SELECT model_id FROM logged_models")
    opened = json.loads(laptop.script(OPEN, run, model))
    assert opened["artifacts"] == ["accuracy.png", "runback"]
    assert any(path.endswith("MLmodel") for path in opened["logged"])
    assert opened["text"] == run
    assert opened["predicted"] == [[1, 0]] * 3
    assert all(
        line.endswith("whole")
        for line in laptop.run(laptop.python, "-m", "runback", "verify", "--records").splitlines()
    )


def test_laptop_is_another_users(lab: Lab, server: Machine, laptop: Machine) -> None:
    if not lab.is_other:
        pytest.skip("needs root to make another user")
    pull(laptop, server)
    laptop.index()
    owners = {path.stat().st_uid for path in laptop.folder.rglob("*")}
    assert owners == {laptop.user["user"]}
    assert os.getuid() not in owners


def test_experiments_of_one_number_and_two_names(server: Machine, laptop: Machine) -> None:
    """Both machines have an experiment 1: told by name, the laptop's own are untouched."""
    laptop.script(SMALL, "my own", "mine", "too")
    laptop.index()
    own = {name: laptop.state(run) for name, run in laptop.runs().items()}
    pull(laptop, server)
    laptop.index()
    runs = laptop.runs()
    assert {name: laptop.state(runs[name]) for name in own} == own
    named = (
        "SELECT experiments.name, COUNT(*) FROM runs JOIN experiments USING (experiment_id)"
        " GROUP BY experiments.experiment_id ORDER BY experiments.experiment_id"
    )
    assert laptop.sql(named)[:2] == [("my own", 2), ("digits", 6)]
    ids = "SELECT experiment_id FROM experiments WHERE name = "
    assert laptop.sql(ids + "'my own'") == server.sql(ids + "'digits'") == [(1,)]
    for run in server.runs().values():
        assert differences(laptop.state(run), server.state(run)) == {}
    # What is logged from here on goes to its own folder, not among the other's.
    laptop.script(SMALL, "digits", "from the laptop")
    laptop.index()
    assert len(list(laptop.mlruns.glob(f"2/{laptop.runs()['from the laptop']}"))) == 1


def test_two_servers_and_both_directions(lab: Lab, server: Machine, laptop: Machine) -> None:
    second = lab.server("second server")
    second.script(SMALL, "digits", "other")
    second.script(SMALL, "elsewhere", "another")
    laptop.script(SMALL, "my own", "mine")
    for machine in (server, second):
        pull(laptop, machine)
        laptop.index()
    everything = {**server.runs(), **second.runs()}
    assert laptop.runs().items() >= everything.items()
    push(laptop, second)
    second.index()
    assert second.runs() == laptop.runs()
    for run in laptop.runs().values():
        assert differences(second.state(run), laptop.state(run)) == {}
    names = [name for (name,) in second.sql("SELECT name FROM experiments ORDER BY name")]
    assert names == ["Default", "digits", "elsewhere", "my own"]


@contextlib.contextmanager
def long_run(machine: Machine) -> Iterator[str]:
    """Start a run, yield its id once its first metric is recorded; finish it at the end."""
    process = machine.start(machine.python, "-c", LONG, stdout=subprocess.PIPE)
    assert process.stdout is not None
    run = process.stdout.readline().strip()

    def is_recorded() -> bool:
        found = list(machine.mlruns.glob(f"*/{run}/artifacts/runback/metrics.jsonl"))
        return bool(found) and "loss" in found[0].read_text()

    try:
        wait_for(is_recorded)
        yield run
    finally:
        (machine.folder / f"end {run}").touch()
        process.communicate(timeout=180)
    assert process.returncode == 0


STATUS = "SELECT status, end_time IS NULL FROM runs WHERE run_uuid = ?"


def test_run_that_goes_on_grows_with_each_copy(server: Machine, laptop: Machine) -> None:
    with long_run(server) as run:
        pull(laptop, server)
        laptop.index()
        assert laptop.sql(STATUS, run) == [("RUNNING", True)]
        assert [point.value for point in laptop.state(run)["points"]] == [1.0]
    pull(laptop, server)
    report = laptop.index()
    assert (report["adopted"], report["refreshed"]) == ([], [run])
    assert laptop.sql(STATUS, run) == [("FINISHED", False)]
    assert differences(laptop.state(run), server.state(run)) == {}
    latest = "SELECT key, value FROM latest_metrics WHERE run_uuid = ? ORDER BY key"
    assert laptop.sql(latest, run) == [("late", 1.0), ("loss", 0.5)]


def test_older_copy_that_comes_back_takes_nothing(server: Machine, laptop: Machine) -> None:
    """Rsync without --update puts the laptop's copy of a run in mid-run over its end."""
    with long_run(server) as run:
        pull(laptop, server)
        laptop.index()
    server.index()
    before = server.state(run)
    push(laptop, server)
    assert '"late"' not in (server.record(run) / "metrics.jsonl").read_text()
    assert run in server.index()["completed"]
    assert differences(server.state(run), before) == {}
    assert '"late"' in (server.record(run) / "metrics.jsonl").read_text()
    pull(laptop, server)
    laptop.index()
    assert differences(laptop.state(run), server.state(run)) == {}


def test_rsync_that_was_killed_is_started_again(server: Machine, laptop: Machine) -> None:
    words = ("rsync", "-a", "--bwlimit=1000", f"server:{server.folder}/mlruns/", "mlruns/")
    process = laptop.start(*words)
    try:
        wait_for(lambda: list(laptop.mlruns.glob("*/*/artifacts/.note.txt.*")))
    finally:
        process.kill()
        process.wait()
    laptop.index()
    assert "heavy" not in laptop.runs()
    pull(laptop, server)
    laptop.index()
    assert differences(laptop.tables(), server.tables()) == {}


@pytest.mark.parametrize("late", ["run.json", "metrics.jsonl", "manifest.json", "models"])
def test_part_that_comes_later_is_seen(server: Machine, laptop: Machine, late: str) -> None:
    """Rsync gives a folder its old time back: by that, nothing has changed in it."""
    pull(laptop, server, f"--exclude={late}")
    laptop.index()
    pull(laptop, server)
    report = laptop.index()
    assert report["wrong"] == {}
    assert differences(laptop.tables(), server.tables()) == {}


def test_database_copied_over_the_laptops_own(lab: Lab, laptop: Machine) -> None:
    """The classic mistake: the laptop's runs come back from their folders, as they were."""
    server = lab.server("server of a database")
    server.script(SMALL, "digits", "theirs")
    server.index()
    laptop.script(SMALL, "my own", "mine")
    with long_run(laptop) as run:
        push(laptop, server)
        server.index()  # knows the run as RUNNING, and always will
    laptop.index()
    edit(laptop, ("set_tag", laptop.runs()["mine"], "checked", "yes"))
    laptop.index()
    own = {each: laptop.state(each) for each in laptop.runs().values()}
    edits, records = laptop.edits(), [laptop.record(run) for run in own]
    before = [files_of(record) for record in records]

    pull(laptop, server, what="mlflow.db")
    laptop.index()
    assert laptop.runs().keys() == {"mine", "long", "theirs"}
    for each, known in own.items():
        assert differences(laptop.state(each), known) == {}
    assert laptop.sql(STATUS, run) == [("FINISHED", False)]
    assert [files_of(record) for record in records] == before
    assert laptop.edits() == edits == [f"edits-{laptop.store()}.json"]
    if lab.is_other:  # who cannot see the server's folder, as on two machines
        assert outside(laptop) == []
    pull(laptop, server)
    laptop.index()
    assert outside(laptop) == []
    theirs = laptop.runs()["theirs"]
    assert differences(laptop.state(theirs), server.state(theirs)) == {}
    for each, known in own.items():
        assert differences(laptop.state(each), known) == {}
    assert laptop.edits() == edits


def files_of(record: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in record.iterdir()}


def both(laptop: Machine, server: Machine) -> None:
    """Copy in both directions, and index on both."""
    pull(laptop, server)
    laptop.index()
    push(laptop, server)
    server.index()


def test_edits_survive_every_copy(server: Machine, laptop: Machine) -> None:
    pull(laptop, server)
    laptop.index()
    noted, unwanted = laptop.runs()["noted"], laptop.runs()["unwanted"]
    edit(
        laptop,
        ("update_run", noted, "", "brave-lynx"),
        ("set_tag", noted, "seen", "yes"),
        ("delete_tag", noted, "team"),
        ("set_tag", noted, "mlflow.note.content", "the best one"),
        ("delete_run", unwanted),
    )
    assert sorted(laptop.index()["edited"]) == sorted([noted, unwanted])

    def is_edited(machine: Machine) -> None:
        assert machine.runs().get("brave-lynx") == noted
        assert unwanted not in machine.runs().values()
        tags = machine.tags(noted)
        assert (tags["seen"], tags["mlflow.note.content"]) == ("yes", "the best one")
        assert "team" not in tags
        assert tags["mlflow.runName"] == "brave-lynx"

    pull(laptop, server)
    laptop.index()
    is_edited(laptop)
    push(laptop, server)
    server.index()
    is_edited(server)
    assert all(laptop.state(run) == server.state(run) for run in (noted, unwanted))
    assert server.edits() == laptop.edits() == [f"edits-{laptop.store()}.json"]

    edit(laptop, ("restore_run", unwanted), ("set_tag", noted, "team", "speech"))
    laptop.index()
    both(laptop, server)
    for machine in (laptop, server):
        assert machine.runs()["unwanted"] == unwanted
        assert machine.tags(noted)["team"] == "speech"


def test_edits_that_rsync_deleted_are_written_again(server: Machine, laptop: Machine) -> None:
    pull(laptop, server)
    laptop.index()
    run = laptop.runs()["heavy"]
    edit(laptop, ("set_tag", run, "seen", "yes"))
    laptop.index()
    written = files_of(laptop.record(run))
    pull(laptop, server, "--delete")
    assert f"edits-{laptop.store()}.json" not in files_of(laptop.record(run))
    laptop.index()
    assert files_of(laptop.record(run)) == written
    assert laptop.tags(run)["seen"] == "yes"
    pull(laptop, server, "--delete")
    edit(laptop, ("set_tag", run, "again", "yes"))
    laptop.index()
    assert laptop.tags(run).items() >= {"seen": "yes", "again": "yes"}.items()


def test_later_edit_of_a_field_wins_and_others_merge(server: Machine, laptop: Machine) -> None:
    pull(laptop, server)
    laptop.index()
    run = laptop.runs()["disputed"]
    edit(laptop, ("set_tag", run, "verdict", "bad"), ("set_tag", run, "laptop", "1"))
    laptop.index()
    edit(server, ("set_tag", run, "verdict", "good"), ("set_tag", run, "server", "1"))
    server.index()
    both(laptop, server)
    pull(laptop, server)
    laptop.index()
    assert differences(laptop.state(run), server.state(run)) == {}
    assert laptop.tags(run).items() >= {"verdict": "good", "laptop": "1", "server": "1"}.items()

    # The server's clock is an hour ahead: what was said after reading it is later all the same.
    path = server.record(run) / f"edits-{server.store()}.json"
    content = json.loads(path.read_text())
    content["fields"]["tag:verdict"] = {
        "value": "excellent",
        "time_ms": (time.time_ns() // 1_000_000) + 3_600_000,
    }
    path.write_text(json.dumps(content))
    os.utime(path.parent)
    server.index()
    both(laptop, server)
    assert laptop.tags(run)["verdict"] == server.tags(run)["verdict"] == "excellent"
    edit(laptop, ("set_tag", run, "verdict", "doubtful"))
    laptop.index()
    both(laptop, server)
    assert laptop.tags(run)["verdict"] == server.tags(run)["verdict"] == "doubtful"
    edit(server, ("delete_tag", run, "verdict"))
    server.index()
    both(laptop, server)
    assert "verdict" not in laptop.tags(run).keys() | server.tags(run).keys()


def test_run_that_was_removed_for_good_stays_away(server: Machine, laptop: Machine) -> None:
    pull(laptop, server)
    laptop.index()
    run = laptop.runs()["purged"]
    edit(laptop, ("delete_run", run))
    laptop.index()
    store = laptop.environ["MLFLOW_TRACKING_URI"]
    laptop.run(laptop.python, "-m", "mlflow", "gc", "--backend-store-uri", store, "--run-ids", run)
    assert not list(laptop.mlruns.glob(f"*/{run}/artifacts/note.txt"))
    for _ in range(2):
        pull(laptop, server)
        report = laptop.index()
        assert (report["purged"], report["adopted"]) == ([run], [])
        assert laptop.sql("SELECT * FROM runs WHERE run_uuid = ?", run) == []


@pytest.mark.browser
def test_copied_run_opens_in_a_browser(server: Machine, laptop: Machine, tmp_path: Path) -> None:
    if browser.find() is None:
        pytest.skip(f"needs a browser: one of {', '.join(browser.NAMES)}")
    pull(laptop, server)
    laptop.index()
    ((experiment, run),) = laptop.sql(
        "SELECT experiment_id, run_uuid FROM runs WHERE name = 'whole'"
    )
    ((model,),) = laptop.sql("SELECT model_id FROM logged_models")
    with ui_of(laptop) as address, browser.page() as page:
        page.before_each(make.VISITOR)
        runs = f"{address}/#/experiments/{experiment}/runs"
        page.open(runs)
        page.wait_for("document.body.innerText.includes('whole')", "run in the list")
        page.open(f"{runs}/{run}/artifacts/accuracy.png")
        page.wait_for(make.FIGURE_IS_SHOWN, "figure")
        page.open(f"{address}/#/experiments/{experiment}/models/{model}/artifacts")
        page.click(NAMED.format("MLmodel"), "MLmodel in the tree")
        page.wait_for("document.body.innerText.includes('loader_module')", "text of MLmodel")
        make.take_synced(page, address, run, tmp_path / "synced.png", experiment)
    assert 20_000 < (tmp_path / "synced.png").stat().st_size <= 250_000


@contextlib.contextmanager
def ui_of(machine: Machine) -> Iterator[str]:
    """Open the UI as the machine's user does; yield its address."""
    port = make.unused_port()
    given = {k: v for k, v in machine.environ.items() if k != "MLFLOW_TRACKING_URI"}
    words = (machine.python, "-m", "runback", "ui", "--port", str(port))
    process = machine.start(*words, env=given, stdout=subprocess.DEVNULL)
    try:
        make.wait_for_health(f"http://localhost:{port}", process)
        yield f"http://localhost:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=180)
