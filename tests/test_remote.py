"""Every read verb reads a tracking server as it reads a folder, and asks it for little."""

from __future__ import annotations

import http.server
import json
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import servers
from conftest import plain_environ
from processes import Started
from records import make_record, make_store, new_id, query, run_index

from runback.capture.sources import sqlite_file
from runback.remote import address, away, cache
from runback.remote.errors import ServerError
from runback.remote.store import root_of
from runback.store import mirrored

TRAIN = """
import mlflow, pathlib, runback, sys
name, lr = sys.argv[1], float(sys.argv[2])
experiment = runback.init(params={"lr": lr, "units": 3}, experiment="digits", name=name)
weights = pathlib.Path("../weights")
weights.mkdir(exist_ok=True)
for step in range(3):
    (weights / "a.bin").write_bytes(bytes([step]) * 1000)
    (weights / "b é.txt").write_text(name)
    experiment.checkpoint(weights, step, {"loss": lr / (step + 1)}, ("loss", "minimize"))
mlflow.log_metrics({"odd": float("nan"), "large": float("inf")})
mlflow.log_text("a note", "notes/read me é.txt")
experiment.stop()
"""
# Without runback: no record, one run that goes on, one that is deleted.
BARE = """
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
client = MlflowClient()
experiment = client.create_experiment("bare", tags={"owner": "ada"})
for name in ("plain", "going", "deleted"):
    run = client.create_run(experiment, run_name=name, tags={"phase": "one"}).info.run_id
    points = [Metric(key, 1 / (step + 1), step, step) for key in "ab" for step in range(20)]
    client.log_batch(run, points, [Param("lr", "0.5")])
    if name != "going":
        client.set_terminated(run)
    if name == "deleted":
        client.delete_run(run)
"""
PURGE = ("tags", "params", "metrics", "latest_metrics", "runs")


@dataclass(frozen=True)
class Served:
    """A server on the folder `root`; work: where its trainings ran; cache: the reader's."""

    uri: str
    root: Path
    work: Path
    log: Path
    cache: Path

    def requests(self) -> list[str]:
        """Return the requests that the server noted, so far."""
        return [line for line in self.log.read_text().splitlines() if '" 200' in line]

    def client(self, code: str) -> None:
        """Run lines that use `client`, MLflow's."""
        head = "import mlflow\nclient = mlflow.MlflowClient()\n"
        script(head + code, self.work, MLFLOW_TRACKING_URI=self.uri, RUNBACK_RECORD="0")

    def runback(self, *words: str, store: str | Path = "") -> str:
        """Return what a verb prints of this server, or of another store."""
        return self.called(*words, store=store).stdout

    def called(
        self, *words: str, store: str | Path = "", status: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "runback", *words, "--store", str(store or self.uri)],
            cwd=self.work,
            env=plain_environ(**{"XDG_CACHE_HOME": str(self.cache), **more}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, store: str | Path = "", **more: str) -> Any:
        return json.loads(self.called(*words, "--json", store=store, status=0, **more).stdout)


def script(code: str, folder: Path, *words: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=plain_environ(**environ),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve the store in `folder`/server, and end the server whatever happens."""
    for name in ("server", "work"):
        (folder / name).mkdir()
    root, log = folder / "server", folder / "server.log"
    store = ("--backend-store-uri", f"sqlite:///{root}/mlflow.db")
    artifacts = ("--serve-artifacts", "--artifacts-destination", str(root / "mlruns"))
    with servers.served(root, log, *store, *artifacts) as address:
        yield Served(address, root, folder / "work", log, folder / "cache")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve two recorded trainings, and three runs that nobody recorded."""
    with serving(tmp_path_factory.mktemp("a server é")) as found:
        there = {"MLFLOW_TRACKING_URI": found.uri}
        (found.work / "model.py").write_text("UNITS = 3\n")
        script(TRAIN, found.work, "one", "0.5", **there)
        (found.work / "model.py").write_text("UNITS = 4\n")
        script(TRAIN, found.work, "two", "0.25", **there)
        script(BARE, found.work, RUNBACK_RECORD="0", **there)
        yield found


@pytest.fixture(scope="module")
def local(served: Served) -> Path:
    """Return a folder with the same runs: the server's own, copied and indexed."""
    folder = served.root.with_name("local")
    shutil.copytree(served.root / "mlruns", folder / "mlruns")
    with (
        closing(sqlite3.connect(served.root / "mlflow.db")) as here,
        closing(sqlite3.connect(folder / "mlflow.db")) as there,
    ):
        here.backup(there)
    served.runback("index", "-q", store=folder)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        *("ls", "ls --deleted", "ls -f loss<0.1 -s lr", "show one", "show two --all"),
        *("diff one two --all", "best -m loss", "plot one two -m loss", "plot plain --x time"),
    ],
)
def test_what_is_said_is_what_is_said_of_a_folder(served: Served, local: Path, words: str) -> None:
    there, here = served.json(*words.split()), served.json(*words.split(), store=local)
    if words.startswith("show"):
        # The digests of the record's files, on the server, are not those of the mirror's.
        assert (there["record"].pop("files"), here["record"].pop("files")) == (0, 4)
    assert there == here
    assert there


def test_run_that_nobody_recorded_is_shown(served: Served) -> None:
    found = served.json("show", "plain")
    assert found["record"]["state"] == "final"
    assert "not captured" in found["record"]["missing"][0]
    assert served.json("diff", "plain", "one")["different"]


def test_run_that_goes_on_is_somewhere(served: Served) -> None:
    (found,) = served.json("ps")
    assert (found["name"], found["life"]) == ("going", "away")


def test_checkout_brings_code_and_checkpoint(served: Served) -> None:
    done = served.json("checkout", "one", "--checkpoint", "1")
    folder = Path(done["folder"])
    assert folder.parent == served.work / "checkouts"
    assert (folder / "model.py").read_text() == "UNITS = 3\n"
    assert (folder / "weights/a.bin").read_bytes() == b"\1" * 1000
    assert (folder / "weights/b é.txt").read_text() == "one"


def test_damage_on_the_way_is_found(served: Served, tmp_path: Path) -> None:
    """What a checkpoint holds is compared with its digests, wherever it came from."""
    model = served.json("checkout", "two", "--to", str(tmp_path / "whole"))["checkpoint"]
    (file,) = served.root.glob(f"mlruns/*/models/{model['model_id']}/artifacts/weights/a.bin")
    before = file.read_bytes()
    file.write_bytes(b"\7" * 1000)
    try:
        cache_folder = str(tmp_path / "cache")
        words = ("checkout", "two", "--to", str(tmp_path / "to"))
        done = served.called(*words, status=3, XDG_CACHE_HOME=cache_folder)
    finally:
        file.write_bytes(before)
    assert "is damaged" in done.stderr
    assert not (tmp_path / "to").exists()


def test_patch_is_of_the_code_on_the_server(served: Served, local: Path) -> None:
    found = served.runback("diff", "one", "two", "--patch")
    assert "-UNITS = 3\n+UNITS = 4\n" in found
    assert found == served.runback("diff", "one", "two", "--patch", store=local)


def test_artifacts_are_listed_and_opened(served: Served, local: Path) -> None:
    there, here = served.json("open", "one"), served.json("open", "one", store=local)
    assert [(a["path"], a["size_bytes"]) for a in there] == [
        (a["path"], a["size_bytes"]) for a in here
    ]
    assert not any(Path(a["file"]).exists() for a in there), "what nobody asked for is not here"
    assert served.runback("open", "one", "read me é.txt") == "a note"
    # The mirror's own run.json says more than the one that was uploaded.
    uploaded = json.loads(served.runback("open", "one", "run.json"))
    assert uploaded["run_id"] == served.json("show", "one")["run_id"]


def test_artifact_that_changed_is_brought_anew(served: Served) -> None:
    assert served.runback("open", "two", "read me é.txt") == "a note"
    (file,) = (p for p in served.root.glob("mlruns/*/*/artifacts/notes/*") if is_of(p, "two"))
    file.write_text("a fact")
    assert served.runback("open", "two", "read me é.txt") == "a fact"
    file.write_text("a note")


def is_of(path: Path, name: str) -> bool:
    return name in (path.parents[1] / "runback/run.json").read_text()


def test_second_call_asks_for_little(served: Served) -> None:
    served.runback("ls")
    before = len(served.requests())
    served.runback("ls")
    asked = served.requests()[before:]
    assert not [line for line in asked if "get-history" in line]
    assert len(asked) <= 6, asked


def test_one_run_that_changed_is_read_again_alone(served: Served) -> None:
    served.runback("ls")
    (going,) = served.json("ps")
    before = len(served.requests())
    served.client(f"client.log_metric({going['run_id']!r}, 'a', 7.5, step=20)")
    found = {run["name"]: run for run in served.json("ls")}
    assert found["going"]["metrics"]["a"] == 7.5
    read = [line for line in served.requests()[before:] if "get-history" in line]
    assert len(read) == 2
    assert all(going["run_id"] in line for line in read)


@pytest.fixture(scope="module")
def mirror(served: Served) -> Path:
    """Return the folder in which the server is mirrored."""
    served.runback("ls")
    (found,) = (served.cache / "runback").glob("127.0.0.1-*")
    return found


def test_cache_is_its_owners_alone(mirror: Path) -> None:
    for folder in (mirror.parent, mirror):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_was_edited_on_the_server_is_seen(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        script(BARE, served.work, RUNBACK_RECORD="0", MLFLOW_TRACKING_URI=served.uri)
        runs = {run["name"]: run["run_id"] for run in served.json("ls")}
        (gone,) = served.json("ls", "--deleted")
        edit = f"""
plain, going, deleted = {runs["plain"]!r}, {runs["going"]!r}, {gone["run_id"]!r}
client.update_run(plain, name="renamed")
client.set_tag(plain, "colour", "red")
client.delete_tag(plain, "phase")
client.delete_run(going)
client.restore_run(deleted)
client.rename_experiment("1", "simple")
model = client.create_logged_model("1", "m", source_run_id=plain)
client.finalize_logged_model(model.model_id, "READY")
"""
        served.client(edit)
        found = {run["name"]: run for run in served.json("ls")}
        assert set(found) == {"renamed", "deleted"}
        assert found["renamed"]["experiment"] == "simple"
        shown = served.json("show", "renamed")
        assert shown["tags"]["colour"] == "red"
        assert "phase" not in shown["tags"]
        (kept,) = shown["checkpoints"]
        served.client(f"client.delete_logged_model({kept['model_id']!r})")
        assert served.json("show", "renamed")["checkpoints"] == []
        for table in PURGE:
            sql = f"DELETE FROM {table} WHERE run_uuid = ?"
            query(served.root / "mlflow.db", sql, runs["plain"])
        assert [run["name"] for run in served.json("ls")] == ["deleted"]
        assert "renamed" not in served.runback("ls", "--deleted")


def test_record_on_the_server_is_a_strangers(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.client("""
run = client.create_run("0", tags={"runback.session": "x"}, run_name="odd").info.run_id
client.log_text(run, '{"format": 1, "run_id": "../../evil"}', "runback/manifest.json")
client.set_terminated(run)
away = client.create_experiment("away", artifact_location="s3://nowhere/runs")
client.create_run(away, tags={"runback.session": "x"}, run_name="in s3")
""")
        done = served.called("ls", "-q", AWS_EC2_METADATA_DISABLED="true")
        assert "is of another run, '../../evil'" in done.stderr
        assert "an artifact in s3://nowhere/runs" in done.stderr
        assert len(done.stdout.splitlines()) == 2
        for name in ("odd", "in s3"):
            missing = served.json("show", name)["record"]["missing"]
            assert "not among its artifacts" in missing[0]


def test_kills_leave_what_the_next_call_completes(served: Served, tmp_path: Path) -> None:
    environ = plain_environ(XDG_CACHE_HOME=str(tmp_path / "cache"))
    words = [sys.executable, "-m", "runback", "ls", "--json", "--store", served.uri]
    chance = random.Random(7)
    for _ in range(3):
        process = Started(words, env=environ, stdout=subprocess.PIPE)
        time.sleep(chance.uniform(1.5, 4))
        process.kill()
        process.communicate()
    found = served.json("ls", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert found == served.json("ls")
    shown = served.json("show", "plain", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert shown == served.json("show", "plain")


def test_several_at_once_see_the_same(served: Served, tmp_path: Path) -> None:
    environ = plain_environ(XDG_CACHE_HOME=str(tmp_path / "cache"))
    words = [sys.executable, "-m", "runback", "ls", "--store", served.uri]
    several = [
        Started(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in several]
    assert [process.returncode for process in several] == [0, 0, 0]
    assert set(outputs) == {served.runback("ls")}


PYTHON = """
import json, os, sys
import runback
uri = sys.argv[1]
runs = runback.runs.list(path=uri, experiment="digits", sort="name")
one = runback.runs.get("one", path=uri)
assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
kept = one.checkpoints[-1]
print(json.dumps({
    "names": [run.name for run in runs],
    "losses": one.metrics["loss"].dropna().tolist(),
    "best": runback.runs.best("loss", path=uri).name,
    "text": kept.open("b é.txt").read().decode(),
    "files": kept.files,
    "folder": sorted(os.listdir(kept.checkout("kept"))),
    "again": runs.refresh()[0].refresh().name,
}))
"""


def test_python_takes_an_address(served: Served, tmp_path: Path) -> None:
    found = json.loads(script(PYTHON, tmp_path, served.uri, XDG_CACHE_HOME=str(served.cache)))
    assert found == {
        "names": ["one", "two"],
        "losses": [0.5, 0.25, 0.5 / 3],
        "best": "two",
        "text": "one",
        "files": {"weights/a.bin": 1000, "weights/b é.txt": 3},
        "folder": ["a.bin", "b é.txt"],
        "again": "one",
    }


@pytest.mark.parametrize(
    "words",
    [
        *("rm one", "restore one", "prune --all --keep-last 1", "index", "verify one"),
        *("import keepsake", "ps --fix"),
    ],
)
def test_what_changes_a_store_refuses_a_server(served: Served, mirror: Path, words: str) -> None:
    done = served.called(*words.split(), status=3)
    assert served.uri in done.stderr
    assert done.stderr.startswith("error: this command works on a folder")
    assert served.called(*words.split(), store=mirror, status=3).stderr == done.stderr


def test_environment_is_verified_whatever_the_store(served: Served) -> None:
    lock = served.work / "none.txt"
    lock.write_text("")
    words = [sys.executable, "-m", "runback", "verify", str(lock)]
    environ = plain_environ(MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    done = subprocess.run(words, cwd=served.work, env=environ, capture_output=True, text=True)
    assert "packages" in done.stdout, done.stderr


def test_server_of_the_variable_is_read(served: Served, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "runback", "ls", "-q"]
    environ = plain_environ(MLFLOW_TRACKING_URI=served.uri, XDG_CACHE_HOME=str(served.cache))
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stdout == served.runback("ls", "-q")
    assert done.stderr == ""


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers everything with what the path's first part says: status and text."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, status, text, *_ = self.path.split("/")
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "reason", "hint"),
    [
        ("401/no", "it asks who you are, or does not let you", "MLFLOW_TRACKING_USERNAME"),
        ("403/no", "it asks who you are, or does not let you", "MLFLOW_TRACKING_USERNAME"),
        ("404/no", "what answers there is no tracking server of MLflow", "/version"),
        ("200/html", "what answers there is no tracking server of MLflow", "/version"),
        ("503/busy", "it answers with HTTP status 503", "/version"),
    ],
)
def test_odd_answer_is_worded(odd: str, tmp_path: Path, path: str, reason: str, hint: str) -> None:
    nobody = Served(f"http://ada:secret@{odd}/{path}", tmp_path, tmp_path, tmp_path, tmp_path)
    lines = nobody.called("ls", status=3).stderr.splitlines()
    assert lines[0] == f"error: http://{odd}/{path} cannot be read: {reason}"
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert "secret" not in str(lines)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (
            "http://127.0.0.1:1/#/experiments",
            "http://127.0.0.1:1 cannot be read: Connection refused",
        ),
        ("sqlite:////nowhere/runs.db", "there is no such file"),
        ("oracle+none://ada:secret@host/db", "cannot be read: "),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, uri: str, reason: str) -> None:
    nobody = Served(uri, tmp_path, tmp_path, tmp_path, tmp_path)
    done = nobody.called("ls", status=3)
    assert reason in done.stderr
    assert "secret" not in done.stderr
    assert not list(tmp_path.glob("runback/*/mlflow.db"))


def test_database_without_mlflows_tables_gets_none(tmp_path: Path) -> None:
    database = tmp_path / "other.db"
    query(database, "CREATE TABLE notes (text)")
    nobody = Served(f"sqlite:///{database}", tmp_path, tmp_path, tmp_path, tmp_path)
    assert "it has no tables of MLflow's" in nobody.called("ls", status=3).stderr
    assert query(database, "SELECT name FROM sqlite_master") == [("notes",)]


def test_database_of_another_name_is_read_through_the_client(
    served: Served, tmp_path: Path
) -> None:
    with (
        closing(sqlite3.connect(served.root / "mlflow.db")) as here,
        closing(sqlite3.connect(tmp_path / "my runs.db")) as there,
    ):
        here.backup(there)
    uri = f"sqlite:///{tmp_path}/my%20runs.db"
    assert served.json("ls", store=uri) == served.json("ls")


def test_names_of_stores_are_understood(tmp_path: Path) -> None:
    assert address.parse("runs", tmp_path) == Path("runs")
    assert address.parse("http://host:5000/#/experiments/1", tmp_path) == "http://host:5000"
    assert address.parse("sqlite:////a%20b/mlflow.db?x=1", tmp_path) == Path("/a b")
    assert address.parse("sqlite:///mlflow.db", tmp_path) == tmp_path
    assert address.parse("sqlite:///other.db", tmp_path) == f"sqlite:///{tmp_path}/other.db"
    assert address.parse("file:///a%20b/mlruns", tmp_path) == Path("/a b")
    assert address.parse("postgresql://host/db", tmp_path) == "postgresql://host/db"
    for uri in ("sqlite:////a%20b/mlflow.db?x=1", "sqlite:////a%25b/mlflow.db"):
        database = sqlite_file(uri)
        assert database is not None
        assert address.parse(uri, tmp_path) == database.parent


def test_store_that_is_meant_without_a_name(tmp_path: Path) -> None:
    project, inside, empty = tmp_path / "project", tmp_path / "project/src", tmp_path / "empty"
    inside.mkdir(parents=True)
    empty.mkdir()
    (project / "mlflow.db").touch()
    ours = {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
    server = {"MLFLOW_TRACKING_URI": "http://host:5000"}
    assert address.default({}, inside) == Path()
    assert address.default(ours, inside) == project
    assert address.default(server, inside) == "http://host:5000"
    assert address.default(server, project) == Path(), "what lies here goes before"
    (empty / "mlruns").mkdir()
    assert address.default(ours, empty) == Path(), "as after an rsync"
    gone = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/gone/mlflow.db"}
    assert address.default(gone, inside) == Path()
    assert address.default({"MLFLOW_TRACKING_URI": "mlruns"}, project / "src") == inside


def test_verbs_find_the_projects_store_from_a_folder_in_it(tmp_path: Path, template: Path) -> None:
    root = make_store(tmp_path / "project", template)
    make_record(root / "mlruns", new_id())
    run_index(root)
    (root / "src").mkdir()
    environ = plain_environ(MLFLOW_TRACKING_URI=f"sqlite:///{root}/mlflow.db")
    for words in (["ls", "-q"], ["index", "--dry-run"]):
        done = subprocess.run(
            [sys.executable, "-m", "runback", *words],
            cwd=root / "src",
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
    assert list((root / "src").iterdir()) == []


def test_mirror_is_told_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that came from elsewhere cannot have us ask its server, with our password."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project/mlruns/1" / new_id() / "artifacts"
    (folder / "runback").mkdir(parents=True)
    root = tmp_path / "project"
    (root / ".runback").mkdir()
    (root / ".runback" / cache.ABOUT).write_text('{"format": 1, "uri": "http://127.0.0.1:1"}')
    assert not cache.is_mirror(root)
    assert away.sizes(folder) is None
    away.bring(folder, "runback/code.tar.gz")
    made = cache.make("http://ada:secret@127.0.0.1:1")
    cache.note(made, "http://ada:secret@127.0.0.1:1")
    assert cache.is_mirror(made)
    assert made.name.startswith("127.0.0.1-1-")
    assert cache.uri_of(made) == "http://ada:secret@127.0.0.1:1"


def test_folder_is_no_server(tmp_path: Path) -> None:
    assert root_of(tmp_path) == tmp_path
    assert root_of("somewhere") == Path.cwd() / "somewhere"
    assert issubclass(ServerError, Exception)


def test_experiments_change_places_and_runs_come_back(tmp_path: Path, template: Path) -> None:
    root = make_store(tmp_path / "mirror", template)
    one, two = new_id(), new_id()
    make_record(root / "mlruns", one, experiment="a", experiment_id=1)
    make_record(root / "mlruns", two, experiment="b", experiment_id=2)
    run_index(root)
    mirrored.follow(root, {1: "b", 2: "a"}, {one, two}, set())
    names = "SELECT experiments.name FROM experiments JOIN runs USING (experiment_id)"
    names += " WHERE run_uuid = ?"
    assert query(root / "mlflow.db", names, one) == [("b",)]
    assert query(root / "mlflow.db", names, two) == [("a",)]
    shutil.copytree(root / "mlruns/2" / two, tmp_path / "kept")
    mirrored.follow(root, {1: "b", 2: "a"}, {one}, set())
    assert query(root / "mlflow.db", "SELECT run_uuid FROM runs") == [(one,)]
    assert not (root / "mlruns/2" / two).exists()
    shutil.copytree(tmp_path / "kept", root / "mlruns/2" / two)
    run_index(root)
    assert len(query(root / "mlflow.db", "SELECT run_uuid FROM runs")) == 2
