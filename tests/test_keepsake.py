"""A Keepsake repository becomes runs: all of it, once, whatever is damaged or hostile in it."""

from __future__ import annotations

import errno
import gzip
import json
import math
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import REPOSITORY, plain_environ
from keepsake import Repository, checkpoint_id, experiment_id, members_gz, plain, tar_gz
from records import dump, is_sound, make_store, query, run_index

from runback.cli import runback as verbs
from runback.errors import DiskFull, RunbackError, StoreError
from runback.keepsake import archive
from runback.keepsake.errors import NoKeepsake, RemoteRepository, RepositoryError
from runback.keepsake.importer import import_all
from runback.keepsake.report import Report
from runback.keepsake.repository import find
from runback.record import check, checkpoint, files, manifest
from runback.store.places import scan


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "old project" / ".keepsake")


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "store", template)


def take(
    repository: Repository, store: Path, dry_run: bool = False, experiment: str = "keepsake"
) -> Report:
    """Import and index, as the command does."""
    found = find(str(repository.root), Path("/"))
    report = import_all(found, store, experiment, lambda message: None, dry_run)
    if not dry_run:
        assert run_index(store).wrong == {}
    return report


def run_of(name: str) -> str:
    return name[:32]


def record_of(store: Path, name: str) -> Path:
    return scan(store / "mlruns").record(run_of(name))


def problems(store: Path, name: str) -> list[str]:
    places = scan(store / "mlruns")
    return list(check.problems(places.record(run_of(name)), run_of(name), places.artifacts))


def tags(store: Path, name: str) -> dict[str, str]:
    sql = "SELECT key, value FROM tags WHERE run_uuid = ?"
    return dict(query(store / "mlflow.db", sql, run_of(name)))


def runback(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runback", *words],
        cwd=cwd,
        env=plain_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_screens(repository: Repository, store: Path) -> None:
    for number in range(12):
        repository.add(number, [0.5] * 5 if number else [0.5, 0.25])
    lost = checkpoint_id(3, 1)
    repository.path("checkpoints", lost).unlink()
    project = repository.root.parent
    (project / "keepsake.yaml").write_text("repository: file://.keepsake\n")

    def screen(*words: str) -> tuple[str, str]:
        done = runback(project, "import", "keepsake", "--store", str(store), *words)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    without = f"without files: checkpoints/{lost}.tar.gz is missing\n"
    summary = "12 imported, 57 checkpoints; 1 without files\n"
    assert screen("--dry-run") == (f"12 experiments: would be: {summary}", without)
    assert screen() == (f"12 experiments: {summary}", without)
    assert screen() == ("12 experiments: nothing new; 1 without files\n", without)
    assert screen("-q") == ("", without)
    out, err = screen("--json")
    assert (json.loads(out)["experiments"], json.loads(out)["imported"], err) == (12, [], "")
    assert runback(store, "index").stdout == "12 runs: nothing new\n"
    assert (
        runback(store, "verify", experiment_id(4)[:7]).stdout == f"{experiment_id(4)[:8]}  whole\n"
    )


def test_everything_is_there(repository: Repository, store: Path) -> None:
    name = repository.add(1, [0.5, math.nan, 0.1, -math.inf][:3], path="models/best.v2.pt")
    repository.beat(name, "2021-02-06T12:00:00Z")
    take(repository, store)
    database = store / "mlflow.db"
    row = query(
        database,
        "SELECT experiments.name, runs.name, status, start_time, end_time, user_id FROM runs"
        " JOIN experiments USING (experiment_id)",
    )
    start, end = (
        int(datetime.fromisoformat(f"2021-02-06T{text}+00:00").timestamp() * 1000)
        for text in ("10:01:00.123", "12:00:00.000")
    )
    assert row == [("keepsake", name[:7], "FINISHED", start, end, "ada")]
    assert dict(query(database, "SELECT key, value FROM params")) == {
        "learning_rate": "0.01",
        "layers": "[64, 1]",
        "epochs": "20",
    }
    found = query(database, "SELECT key, step, value, is_nan FROM metrics ORDER BY key, step")
    assert found == [
        *(("accuracy", step, 1.0, 0) for step in (0, 10, 20)),
        ("loss", 0, 0.5, 0),
        ("loss", 10, 0.0, 1),
        ("loss", 20, 0.1, 0),
    ]
    found_tags = tags(store, name)
    assert found_tags["runback.primary_metric"] == "loss minimize"
    best = f"m-{checkpoint_id(1, 2)[:32]}"
    assert json.loads(found_tags["runback.best"]) == {"value": 0.1, "step": 20, "model_id": best}
    assert found_tags["keepsake.id"] == name
    assert found_tags["mlflow.source.name"] == "train.py"
    models = query(
        database,
        "SELECT model_id, name, model_type, status, step, artifact_location FROM logged_models"
        " JOIN inputs ON destination_id = model_id ORDER BY step",
    )
    assert [model[:5] for model in models] == [
        (f"m-{checkpoint_id(1, n)[:32]}", "best-v2", "checkpoint", 2, n * 10) for n in range(3)
    ]
    folder = Path(models[1][5])
    assert (folder / "best.v2.pt").read_bytes() == b"1 1" * 100
    stored = checkpoint.read(folder, models[1][0])
    assert math.isnan(stored.metrics["loss"])
    assert (stored.step, stored.path, str(stored.primary_metric)) == (
        *(10, "best.v2.pt"),
        "loss minimize",
    )
    assert is_sound(database)


def test_the_record_is_complete(repository: Repository, store: Path) -> None:
    name = repository.add(1)
    repository.beat(name, "2021-02-06T12:00:00Z")
    take(repository, store)
    record = record_of(store, name)
    artifacts = record.parent
    known = manifest.read(record, run_of(name))
    assert known["recorded_by"] == "import keepsake"
    assert known["command"]["argv"] == ["train.py", "--lr", "0.01", "a b"]
    assert known["environment"] == {
        "python": "3.8.6",
        "packages": {"pyyaml": "5.4.1", "torch": "1.7.1"},
    }
    assert sorted(known["code"]["files"]) == ["lib/a.py", "train.py"]
    assert known["missing"] == []
    with tarfile.open(record / "code.tar.gz") as tar:
        content = tar.extractfile("lib/a.py")
        assert content is not None
        assert content.read() == b"a = 1\n"
    raw = (artifacts / "keepsake" / "experiment.json").read_bytes()
    assert raw == repository.json(name).read_bytes()
    assert (artifacts / "keepsake" / "heartbeat.json").exists()
    assert problems(store, name) == []


def test_mlflow_sees_it(repository: Repository, store: Path) -> None:
    name = repository.add(1, [0.5, 0.25])
    take(repository, store)
    code = f"""
import json, mlflow
client = mlflow.MlflowClient("sqlite:///{store}/mlflow.db")
run = client.get_run("{run_of(name)}")
history = client.get_metric_history(run.info.run_id, "loss")
models = client.search_logged_models([run.info.experiment_id])
print(json.dumps([run.data.params["epochs"], [[m.step, m.value] for m in history],
    sorted([m.name, m.status.value, m.metrics[0].value, m.metrics[0].step] for m in models),
    sorted(a.path for a in client.list_artifacts(run.info.run_id)),
    sorted(a.path for a in client.list_logged_model_artifacts(models[0].model_id)),
    sorted([o.model_id[-4:], o.step] for o in run.outputs.model_outputs)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=plain_environ(RUNBACK_RECORD="0"),
        cwd=store,
    )
    assert done.returncode == 0, done.stderr
    epochs, history, models, artifacts, files_of_model, outputs = json.loads(done.stdout)
    assert epochs == "20"
    assert history == [[0, 0.5], [10, 0.25]]
    assert [model[:2] + model[3:] for model in models] == [
        ["model", "READY", 0],
        ["model", "READY", 10],
    ]
    assert artifacts == ["keepsake", "runback"]
    assert files_of_model == ["model.pt", "runback"]
    assert sorted(step for _, step in outputs) == [0, 10]


@pytest.mark.parametrize(
    ("path", "files_of_model"),
    [
        ("model.pt", ["model.pt"]),
        ("./models/best/", ["best/a.bin"]),
        (".", ["checkpoint/weights/a.bin"]),
        ("runback", ["checkpoint"]),
    ],
)
def test_a_checkpoint_is_named_as_its_path_ends(
    repository: Repository, store: Path, path: str, files_of_model: list[str]
) -> None:
    name = repository.add(1, [0.5], path=path)
    take(repository, store)
    known = manifest.read(record_of(store, name), run_of(name))
    assert [sorted(found) for found in known["models"].values()] == [files_of_model]
    assert problems(store, name) == []


def test_a_checkpoint_without_files_is_its_metrics(repository: Repository, store: Path) -> None:
    name = repository.add(1, [0.5, 0.25], path="")
    report = take(repository, store)
    assert (report.checkpoints, report.without_files) == (2, {})
    assert query(store / "mlflow.db", "SELECT COUNT(*) FROM logged_models") == [(0,)]
    assert json.loads(tags(store, name)["runback.best"])["model_id"] is None


def test_strange_values_are_named_and_kept(repository: Repository, store: Path) -> None:
    name = repository.add(1, ["good", True, 10**400, None], path="", goal="max")
    content = json.loads(repository.json(name).read_text())
    content["params"] = {"a": None, "b": True, "long": "x" * 7000, "nan": "[NaN]", "d": {"é": 1}}
    for position, step in enumerate((None, 1.5, -3, 2**70)):
        content["checkpoints"][position]["step"] = step
    repository.write(name, content)
    report = take(repository, store)
    assert dict(query(store / "mlflow.db", "SELECT key, value FROM params")) == {
        "a": "None",
        "b": "True",
        "long": "x" * 6000,
        "nan": "nan",
        "d": '{"é": 1}',
    }
    assert query(store / "mlflow.db", "SELECT step, value FROM metrics WHERE key = 'loss'") == [
        (1, 1.0)
    ]
    assert "runback.best" not in tags(store, name)
    short = name[:7]
    assert report.notes == [
        f"{short}: param 'long' is cut to 6000 characters",
        f"{short}: metric 'loss' has values that are no numbers",
        f"{short}: primary metric 'loss' has the goal 'max': none is best",
        f"{short}: step 1.5 is no whole number: 1, its position",
        f"{short}: step {2**70} is no whole number: 3, its position",
    ]


def test_an_experiment_that_logged_nothing(repository: Repository, store: Path) -> None:
    nothing: dict[str, Any] = {"params": None, "python_packages": None, "config": None}
    name = repository.add(1, [], path="", command="", **nothing)
    content = json.loads(repository.json(name).read_text())
    repository.write(name, {**content, "path": "", "replicate_version": "0.3.1"})
    assert take(repository, store).imported == [run_of(name)]
    assert problems(store, name) == []


def test_of_equals_the_first_is_best_and_it_is_finite(repository: Repository, store: Path) -> None:
    name = repository.add(1, [math.nan, 0.5, math.inf, 0.5], goal="maximize")
    take(repository, store)
    best = json.loads(tags(store, name)["runback.best"])
    assert (best["value"], best["step"]) == (0.5, 10)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_what_was_damaged_is_completed_when_it_is_whole(
    repository: Repository, store: Path
) -> None:
    name = repository.add(1, [0.5, 0.25])
    whole = {kind: repository.root / kind for kind in ("experiments", "checkpoints")}
    for kind, folder in whole.items():
        shutil.copytree(folder, repository.root.parent / kind)
    repository.path("checkpoints", checkpoint_id(1, 0)).unlink()
    cut(repository.path("checkpoints", checkpoint_id(1, 1)))
    cut(repository.path("experiments", name))
    report = take(repository, store)
    assert (report.imported, report.checkpoints) == ([run_of(name)], 2)
    reasons = [reason.split(":")[0] for reason in report.without_files.values()]
    assert reasons == ["is damaged", "is missing", "is damaged"]
    said = problems(store, name)
    assert [line.split(":")[1].strip() for line in said] == [
        "code.tar.gz",
        f"checkpoint {checkpoint_id(1, 0)[:7]} of step 0",
        f"checkpoint {checkpoint_id(1, 1)[:7]} of step 10",
    ]
    assert json.loads(tags(store, name)["runback.best"])["model_id"] is None
    before = dump(store / "mlflow.db")
    assert take(repository, store).completed == []
    assert dump(store / "mlflow.db") == before
    for kind, folder in whole.items():
        shutil.rmtree(folder)
        shutil.copytree(repository.root.parent / kind, folder)
    report = take(repository, store)
    assert (report.completed, report.checkpoints, report.without_files) == ([run_of(name)], 2, {})
    assert problems(store, name) == []
    best = json.loads(tags(store, name)["runback.best"])
    assert best["model_id"] == f"m-{checkpoint_id(1, 1)[:32]}"
    assert take(repository, store).completed == []


def test_what_grew_is_completed(repository: Repository, store: Path) -> None:
    name = repository.add(1, [0.5])
    take(repository, store)
    database = store / "mlflow.db"
    query(database, "UPDATE runs SET name = 'the good one'")
    query(database, "INSERT INTO params VALUES ('later', 'mine', ?)", run_of(name))
    run_index(store)
    content = json.loads(repository.json(name).read_text())
    content["checkpoints"] += [repository.checkpoint(1, n, 0.1, "m.pt") for n in (1, 2)]
    repository.write(name, content)
    report = take(repository, store, experiment="another")  # a run stays where it is
    assert (report.completed, report.checkpoints) == ([run_of(name)], 2)
    assert json.loads(tags(store, name)["runback.best"])["step"] == 10
    expected = datetime(2021, 2, 6, 11, 1, 2, 500_000, UTC).timestamp() * 1000
    assert query(database, "SELECT name, end_time FROM runs") == [("the good one", expected)]
    assert query(database, "SELECT COUNT(*) FROM params") == [(4,)]
    assert problems(store, name) == []
    before = dump(database)
    assert take(repository, store).completed == []
    assert dump(database) == before


def test_a_second_import_changes_nothing(repository: Repository, store: Path) -> None:
    for number in range(3):
        repository.add(number)

    def state() -> tuple[Any, Any]:
        paths = [path for path in sorted((store / "mlruns").rglob("*")) if path.is_file()]
        return {str(path): path.stat().st_mtime_ns for path in paths}, dump(store / "mlflow.db")

    take(repository, store)
    before = state()
    report = take(repository, store)
    assert (report.imported, report.completed, report.checkpoints) == ([], [], 0)
    assert state() == before
    assert run_index(store).adopted == []
    assert state() == before


def test_the_repository_is_only_read(repository: Repository, store: Path) -> None:
    repository.add(1)
    before = {path: path.stat().st_mtime_ns for path in repository.root.rglob("*")}
    take(repository, store)
    assert {path: path.stat().st_mtime_ns for path in repository.root.rglob("*")} == before


def test_a_dry_run_writes_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.add(1)
    (tmp_path / "empty").mkdir()
    report = take(repository, tmp_path / "empty", dry_run=True)
    assert (len(report.imported), report.checkpoints) == (1, 2)
    assert list((tmp_path / "empty").iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from runback.keepsake import publish
from runback.keepsake.importer import import_all
from runback.keepsake.repository import find
left = int(sys.argv[1])
real = os.fsync
def fsync(handle):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    real(handle)
os.fsync = fsync
import_all(find(sys.argv[2], Path("/")), Path(sys.argv[3]), "keepsake", print)
"""


def test_after_a_kill_the_same_import_goes_on(
    repository: Repository, tmp_path: Path, template: Path
) -> None:
    names = [repository.add(number, [0.5, 0.25]) for number in range(2)]
    whole = make_store(tmp_path / "whole", template)
    take(repository, whole)
    killed = 0
    for instant in (3, 6, 9, 14, 20, 24, 27, 35):
        store = make_store(tmp_path / str(instant), template)
        words = [str(instant), str(repository.root), str(store)]
        done = subprocess.run([sys.executable, "-c", KILLED, *words], env=plain_environ())
        assert done.returncode in (0, -signal.SIGKILL)
        killed += done.returncode != 0
        report = run_index(store)
        assert report.wrong == {}
        for run_id in report.adopted:  # a run that is there is whole
            assert problems(store, run_id) == []
        take(repository, store)
        assert [problems(store, name) for name in names] == [[], []]
        assert shape(store) == shape(whole)
    assert killed == 8


def shape(store: Path) -> list[str]:
    found = [path.relative_to(store / "mlruns") for path in (store / "mlruns").rglob("*")]
    return sorted(map(str, found))


def test_a_full_disk_leaves_nothing_half(
    repository: Repository, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [repository.add(number, [0.5, 0.25]) for number in range(2)]
    real = archive._write

    def full(path: Path, target: Path, content: archive.Content) -> None:
        real(path, target, content)
        if checkpoint_id(1, 1) in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "_write", full)
    with pytest.raises(StoreError, match="is full; what was imported is whole"):
        take(repository, store)
    monkeypatch.undo()
    assert run_index(store).adopted == [run_of(names[0])]
    assert not (store / "mlruns" / ".importing").exists()
    assert take(repository, store).imported == [run_of(names[1])]
    assert [problems(store, name) for name in names] == [[], []]


def test_room_is_looked_for_before_it_is_taken(
    repository: Repository, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add(1)
    usage = shutil.disk_usage("/")._replace(free=archive.RESERVE_BYTES + 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskFull, match="unpacking"):
        take(repository, store)
    assert shape(store) == []


def test_a_broken_experiment_is_named_and_the_others_come(
    repository: Repository, store: Path
) -> None:
    good = repository.add(0)
    content = json.loads(repository.json(good).read_text())
    point = {**content["checkpoints"][0], "id": checkpoint_id(99, 0)}
    broken: dict[int, str | dict[str, Any]] = {
        1: "",
        2: repository.json(good).read_text()[:200],
        3: "{}",
        4: "[" * 100_000,
        5: {**content, "created": "0001-01-01T00:00:00Z"},
        6: {**content, "params": [1]},
        7: {**content, "checkpoints": [3]},
        8: {**content, "checkpoints": [{**point, "id": "../../etc/passwd"}]},
        9: {**content, "user": {"name": "ada"}},
        10: {**content, "command": "\ud800"},
        11: {**content, "checkpoints": [point, {**point, "id": point["id"][:32] + "0" * 32}]},
        12: content,
    }
    for number, what in broken.items():
        name = experiment_id(number)
        text = what if isinstance(what, str) else json.dumps({**what, "id": name})
        repository.json(name).write_text(text)
    repository.json(experiment_id(12)).write_text(json.dumps(content))
    (repository.root / "metadata" / "experiments" / "link.json").symlink_to("/etc/hostname")
    report = take(repository, store)
    assert report.imported == [run_of(good)]
    assert len(report.wrong) == 13
    reasons = [report.wrong[str(repository.json(experiment_id(n)))] for n in broken]
    for expected, reason in zip(
        (
            *("is not JSON", "is not JSON", "has no id", "is not JSON", "has no time"),
            *("no proper params", "no proper checkpoint", "has no id", "no proper user"),
            *("not Unicode", "begin alike", "is of another experiment"),
        ),
        reasons,
        strict=True,
    ):
        assert expected in reason


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def named(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return plain(name, 3), b"abc"


def long_header(own: str) -> bytes:
    """Return an archive of some kB whose one name has 50 MB."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 50_000_000
    return members_gz([(member, bytes(50_000_000))])


def sparse(own: str) -> bytes:
    """Return an archive of one file that claims a terabyte of zeros."""
    member = plain(f"{own}/model.pt", 0)
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = tarfile.itn(10**12, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


def changed_tar(own: str, change: Callable[[bytes], bytes]) -> bytes:
    return gzip.compress(change(gzip.decompress(tar_gz({f"{own}/model.pt": b"x" * 600}))))


HOSTILE: dict[str, Callable[[str], bytes]] = {
    "absolute": lambda own: members_gz([named("/etc/runback-test")]),
    "climbs": lambda own: members_gz([named(f"{own}/../../climbed")]),
    "climbs as a folder": lambda own: members_gz([special(f"{own}/../x", tarfile.DIRTYPE)]),
    "another folder": lambda own: members_gz([named("other/model.pt")]),
    "no folder": lambda own: members_gz([named("model.pt")]),
    "a file as the folder": lambda own: members_gz([named(own)]),
    "not its path": lambda own: members_gz([named(f"{own}/model.pt.bak")]),
    "a link": lambda own: members_gz([special(f"{own}/model.pt", tarfile.SYMTYPE, "/etc/passwd")]),
    "a hard link": lambda own: members_gz(
        [named(f"{own}/model.pt"), special(f"{own}/model.pt/b", tarfile.LNKTYPE, f"{own}/model.pt")]
    ),
    "a device": lambda own: members_gz([special(f"{own}/model.pt", tarfile.CHRTYPE)]),
    "a pipe": lambda own: members_gz([special(f"{own}/model.pt", tarfile.FIFOTYPE)]),
    "twice": lambda own: members_gz([named(f"{own}/model.pt")] * 2),
    "below a file": lambda own: members_gz([named(f"{own}/model.pt"), named(f"{own}/model.pt/x")]),
    "a long header": long_header,
    "a sparse file": sparse,
    "nothing": lambda own: members_gz([]),
    "empty": lambda own: b"",
    "not gzip": lambda own: b"PK" * 600,
    "not tar": lambda own: changed_tar(own, lambda tar: b"x" * 2000),
    "its tar cut in a file": lambda own: changed_tar(own, lambda tar: tar[:900]),
    "its tar cut after a file": lambda own: changed_tar(own, lambda tar: tar[: 512 + 1024]),
    "its tar goes on with nonsense": lambda own: changed_tar(
        own, lambda tar: tar[: 512 + 1024] + b"x" * 2000
    ),
    "its checksum": lambda own: tar_gz({f"{own}/model.pt": b"x" * 600})[:-8] + b"12345678",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_whole(
    repository: Repository, store: Path, kind: str, tmp_path: Path
) -> None:
    name = repository.add(1, [0.5])
    own = checkpoint_id(1, 0)
    repository.path("checkpoints", own).write_bytes(HOSTILE[kind](own))
    outside = {path for path in tmp_path.rglob("*") if store not in path.parents}
    report = take(repository, store)
    assert report.imported == [run_of(name)]
    assert list(report.without_files) == [f"checkpoints/{own}.tar.gz"]
    assert {path for path in tmp_path.rglob("*") if store not in path.parents} == outside
    assert not Path("/etc/runback-test").exists()
    assert [path for path in shape(store) if "models" in path or "importing" in path] == []
    assert len(problems(store, name)) == 1
    assert problems(store, name)[0].startswith(f"not recorded: checkpoint {own[:7]} of step 0: its")


def test_hostile_code_is_refused_too(repository: Repository, store: Path) -> None:
    name = repository.add(1)
    archive_of_code = repository.path("experiments", name)
    archive_of_code.write_bytes(members_gz([named(f"{name}/a"), named(f"{name}/a")]))
    report = take(repository, store)
    assert report.without_files == {f"experiments/{name}.tar.gz": "holds 'a' twice"}
    assert not (record_of(store, name) / "code.tar.gz").exists()


def test_too_many_files(
    repository: Repository, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = repository.add(1, [])
    monkeypatch.setattr(archive, "MOST_FILES", 1)
    report = take(repository, store)
    assert report.without_files == {f"experiments/{name}.tar.gz": "holds more than 1 files"}


def test_a_running_experiment_waits(repository: Repository, store: Path) -> None:
    running, stopped = repository.add(1), repository.add(2)
    repository.beat(stopped, "2021-02-06T12:00:00Z")
    repository.beat(running, datetime.fromtimestamp(time.time(), UTC).isoformat())
    report = take(repository, store)
    assert (report.imported, report.running) == ([run_of(stopped)], [run_of(running)])
    repository.beat(running, datetime.fromtimestamp(time.time() - 31, UTC).isoformat())
    assert take(repository, store).imported == [run_of(running)]


def test_ids_that_begin_alike(repository: Repository, store: Path) -> None:
    name = repository.add(1)
    twin = name[:32] + "0" * 32
    repository.write(twin, {**json.loads(repository.json(name).read_text()), "id": twin})
    report = take(repository, store)
    assert report.imported == [twin[:32]]
    assert report.wrong == {
        str(repository.json(name)): f"has an id that begins like that of experiment {twin}"
    }
    repository.json(twin).unlink()
    reason = take(repository, store).wrong[str(record_of(store, name) / files.MANIFEST)]
    assert reason == f"is of experiment {twin}, whose id begins like that of {name}"


def test_a_checkpoint_of_another_run_is_not_taken_over(repository: Repository, store: Path) -> None:
    repository.add(1, [0.5])
    take(repository, store)
    other = repository.add(2, [0.5])
    content = json.loads(repository.json(other).read_text())
    content["checkpoints"][0]["id"] = checkpoint_id(1, 0)
    repository.write(other, content)
    report = take(repository, store)
    (reason,) = report.without_files.values()
    assert reason == f"is of another run, {run_of(experiment_id(1))}"


def test_what_was_removed_for_good_stays_away(repository: Repository, store: Path) -> None:
    name = repository.add(1)
    take(repository, store)
    query(store / "mlflow.db", "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = 1")
    run_index(store)
    for table in ("runs", "params", "tags", "metrics", "latest_metrics", "logged_models"):
        query(store / "mlflow.db", f"DELETE FROM {table}")
    shutil.rmtree(store / "mlruns")
    for dry_run in (True, False):
        report = take(repository, store, dry_run)
        assert (report.imported, report.purged) == ([], [run_of(name)])


def test_a_copy_on_another_machine(
    repository: Repository, store: Path, tmp_path: Path, template: Path
) -> None:
    name = repository.add(1)
    take(repository, store)
    laptop = make_store(tmp_path / "laptop", template)
    subprocess.run(["rsync", "-a", f"{store}/mlruns/", f"{laptop}/mlruns/"], check=True)
    assert run_index(laptop).adopted == [run_of(name)]
    assert problems(laptop, name) == []
    (location,) = query(laptop / "mlflow.db", "SELECT artifact_location FROM logged_models LIMIT 1")
    assert location[0].startswith(str(laptop))
    # The other store writes the record: here it is neither written nor imported twice.
    assert take(repository, laptop).imported == []
    content = json.loads(repository.json(name).read_text())
    repository.write(name, {**content, "user": "bob"})
    report = take(repository, laptop)
    assert (report.completed, len(report.wrong)) == ([], 1)
    assert "import it there" in next(iter(report.wrong.values()))


def test_a_new_database_has_it_all(repository: Repository, store: Path) -> None:
    for number in range(3):
        repository.add(number, [0.5, math.nan, math.inf])
    take(repository, store)
    before = dump(store / "mlflow.db")
    done = runback(store, "index", "--rebuild")
    assert done.returncode == 0, done.stderr
    after = dump(store / "mlflow.db")
    assert {table: rows for table, rows in after.items() if table != "experiments"} == {
        table: rows for table, rows in before.items() if table != "experiments"
    }


def test_the_experiment_of_a_name_that_is_taken(repository: Repository, store: Path) -> None:
    (store / "mlruns" / "7").mkdir(parents=True)
    sql = "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (3, ?, ?)"
    query(store / "mlflow.db", sql, "keepsake", "active")
    name = repository.add(1)
    take(repository, store)
    assert record_of(store, name).parents[2].name == "3"
    query(store / "mlflow.db", "UPDATE experiments SET lifecycle_stage = 'deleted'")
    with pytest.raises(StoreError, match="is deleted"):
        take(repository, store)


def test_a_link_in_the_way_is_not_followed(
    repository: Repository, store: Path, tmp_path: Path
) -> None:
    repository.add(1)
    (store / "mlruns").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (store / "mlruns" / "3").symlink_to(tmp_path / "elsewhere")
    sql = "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (3, ?, ?)"
    query(store / "mlflow.db", sql, "keepsake", "active")
    with pytest.raises(RunbackError, match="symbolic link"):
        take(repository, store)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("config", "content"),
    [
        ("keepsake.yaml", "repository: file://old\n"),
        ("keepsake.yml", "repository: file://{here}/old\n"),
        ("replicate.yaml", "storage: file://old%20\n"),
        ("", ""),
    ],
)
def test_the_repository_is_found(tmp_path: Path, config: str, content: str) -> None:
    name = {"replicate.yaml": "old ", "": ".replicate/storage"}.get(config, "old")
    made = Repository(tmp_path / name)
    (tmp_path / "src" / "deep").mkdir(parents=True)
    if config:
        (tmp_path / config).write_text(content.format(here=tmp_path))
    assert find(None, tmp_path / "src" / "deep").root == made.root
    assert find("..", tmp_path / "src").root.resolve() == made.root
    assert find(f"file://{tmp_path}/{name}".replace(" ", "%20"), Path("/")).root == made.root


def test_a_repository_that_cannot_be_read(tmp_path: Path, repository: Repository) -> None:
    with pytest.raises(NoKeepsake, match=r"neither keepsake\.yaml nor"):
        find(None, tmp_path)
    with pytest.raises(NoKeepsake, match=r"neither repository\.json nor"):
        find("nowhere", tmp_path)
    for address, command in (("s3://b/root", "aws s3 sync"), ("gs://b", "gcloud storage rsync")):
        (tmp_path / "keepsake.yaml").write_text(f"repository: {address}\n")
        with pytest.raises(RemoteRepository) as caught:
            find(None, tmp_path)
        assert f"{command} " in caught.value.hint
        assert address in str(caught.value)
    for content, reason in (("a: [", "is not YAML"), ("repositry: x", "names no repository")):
        (tmp_path / "keepsake.yaml").write_text(content)
        with pytest.raises(RepositoryError, match=reason):
            find(None, tmp_path)
    with pytest.raises(RepositoryError, match="no address"):
        find("ftp://x", tmp_path)
    version = repository.root / "repository.json"
    version.write_text('{"version": 2}')
    with pytest.raises(RepositoryError, match="says version 2; this runback reads 1"):
        find(str(repository.root), tmp_path)
    for harmless in ("", "[]", '{"version": 1}'):
        version.write_text(harmless)
        find(str(repository.root), tmp_path)


PAGE = (REPOSITORY / "docs" / "keepsake.md").read_text()
COMMANDS = sorted(set(re.findall(r"`runback ([^`]+)`|^runback (.+)$", PAGE, re.MULTILINE)))


@pytest.mark.parametrize("text", [first or second for first, second in COMMANDS])
def test_the_page_names_commands_that_exist(text: str) -> None:
    assert missing_in(text.split("#")[0]) == []


def missing_in(text: str) -> list[str]:
    """Return the verbs and options of a command that there are not."""
    command: click.Command | None = verbs
    for word in shlex.split(text.split("|")[0]):
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
            if command is None:
                return [word]
        elif command and word.startswith("-") and word not in options_of(command):
            return [word]
    return []


def options_of(command: click.Command) -> set[str]:
    return {option for param in command.params for option in param.opts}


def test_that_test_can_fail() -> None:
    assert missing_in("import wandb") == ["wandb"]
    assert missing_in("index --dry-run --no-such") == ["--no-such"]
    assert len(COMMANDS) > 15


def test_the_page_names_calls_that_exist() -> None:
    names = set(re.findall(r"`runback\.([\w.]+)", PAGE))
    assert {"init", "resume", "runs.list", "keras.CheckpointCallback"} <= names
    code = (
        "import runback, runback.keras, runback.lightning\n"
        "from operator import attrgetter\n"
        f"[attrgetter(name)(runback) for name in {sorted(names)}]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=plain_environ()
    )
    assert done.returncode == 0, done.stderr
