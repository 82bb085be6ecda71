"""runback checkout and open: what was recorded, verified, in a folder of its own, or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shlex
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import training
from conftest import plain_environ
from processes import Started
from records import add_code, make_record, make_store, run_index, run_of
from screens import loaded, on_terminal

from runback.capture import leaving, snapshot
from runback.capture.snapshot import CodeFile
from runback.record import checkpoint, files, manifest
from runback.runs.checkout import safe_name

CODE: dict[str, bytes | str | CodeFile] = {
    "train.py": b"print('hello')\n",
    "tools/run.sh": CodeFile(b"#!/bin/sh\n", executable=True),
    "tools/latest": "../train.py",
    "caf\udce9.txt": b"latin\n",
}
COMMAND = {"argv": ["/usr/bin/python3", "train.py", "--name", "a b"], "working_directory": "."}


def call(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runback", *words],
        cwd=root,
        env=plain_environ(**environ),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=180,
    )


def done(root: Path, *words: str) -> str:
    found = call(root, "checkout", *words)
    assert found.returncode == 0, found.stderr
    return found.stdout


def refused(root: Path, *words: str, status: int = 3) -> str:
    """Check out what cannot be, see that nothing was written; return the message."""
    before = tree(root)
    found = call(root, "checkout", *words)
    assert (found.returncode, found.stdout) == (status, ""), found.stderr
    assert tree(root) == before
    return found.stderr


def tree(folder: Path) -> dict[str, str]:
    """Return everything in a folder: kind and digest by path; not the database's own files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith("mlflow.db"):
            continue
        mode = path.lstat().st_mode
        content = os.fsencode(path.readlink()) if path.is_symlink() else b""
        content = path.read_bytes() if stat.S_ISREG(mode) else content
        found[os.fsdecode(path)] = f"{oct(mode)} {hashlib.sha256(content).hexdigest()}"
    return found


def make_coded(root: Path, losses: list[float] | None = None, **more: Any) -> tuple[str, list[str]]:
    """Write a run with code and checkpoints; return its id and theirs."""
    run_id, model_ids = checkpoints.make_run(root, losses or [], **more)
    record = files.folder_of(root / "mlruns/1" / run_id / "artifacts")
    (record.parent / "plots").mkdir()
    (record.parent / "plots" / "accuracy.png").write_bytes(b"\x89PNG\0\xff")
    (record.parent / "notes.txt").write_bytes("caf\u00e9\tis\r\n\x1b[31mred\x1b[0m\n".encode())
    add_code(record, CODE, {"big.bin": "20 MB"}, command=COMMAND)
    return run_id, model_ids


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "lap töp", template)


def indexed(root: Path, losses: list[float] | None = None, **more: Any) -> str:
    run_id, _ = make_coded(root, losses, **more)
    run_index(root)
    return run_id


def record_of(root: Path, run_id: str) -> Path:
    return files.folder_of(root / "mlruns/1" / run_id / "artifacts")


def folder_of(root: Path, run_id: str) -> Path:
    """Return where a run is checked out."""
    return root / "checkouts" / f"run {run_id[-4:]}-{run_id[:8]}"


def edit_manifest(root: Path, run_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    record = record_of(root, run_id)
    known = manifest.read(record, run_id)
    change(known)
    files.write_json(record / files.MANIFEST, known)


# What is written.


def test_code_is_as_it_was_run(root: Path) -> None:
    run_id = indexed(root)
    found = call(root, "checkout", run_id)
    name = f"checkouts/run {run_id[-4:]}-{run_id[:8]}"
    assert found.stdout == (
        f"{name}\n  code: 4 files\n"
        f"  it was run by: cd '{name}' && /usr/bin/python3 train.py --name 'a b'\n"
    )
    assert found.stderr == "not in the snapshot: big.bin (20 MB)\n"
    folder = folder_of(root, run_id)
    assert sorted(tree(folder)) == sorted(
        str(folder / part) for part in ["tools", *(n for n in CODE)]
    )
    assert (folder / "train.py").read_bytes() == CODE["train.py"]
    assert (folder / "tools/latest").readlink() == Path("../train.py")
    assert os.access(folder / "tools/run.sh", os.X_OK)
    assert not os.access(folder / "train.py", os.X_OK)
    assert (root / "checkouts/.gitignore").read_text() == "*\n"
    assert sorted(path.name for path in (root / "checkouts").iterdir()) == [".gitignore", name[10:]]


def test_checkpoint_is_a_file_of_its_own(root: Path) -> None:
    run_id = indexed(root, [0.5, 0.1, 0.3])
    assert "  checkpoint of step 1: model.pt\n" in done(root, run_id)
    copy = folder_of(root, run_id) / "model.pt"
    assert copy.read_bytes() == b"1" * 1000
    assert copy.stat().st_nlink == 1
    assert copy.stat().st_mode & 0o600 == 0o600
    copy.write_bytes(b"mine now")
    assert call(root, "verify", run_id).returncode == 0


def test_which_checkpoint(root: Path) -> None:
    run_id = indexed(root, [0.5, 0.1, float("nan")])
    for which, content in (("best", b"1"), ("latest", b"2"), ("0", b"0")):
        done(root, run_id, "--checkpoint", which, "--to", which, "--only", "checkpoint")
        assert tree(root / which).keys() == {str(root / which / "model.pt")}
        assert (root / which / "model.pt").read_bytes() == content * 1000
    assert "no checkpoint of step 7; it has\n  step 0  model\n" in refused(
        root, run_id, "--checkpoint", "7"
    )
    assert "neither best nor latest" in refused(root, run_id, "--checkpoint", "x", status=2)


def test_latest_where_no_metric_counts(root: Path) -> None:
    run_id = indexed(root, [0.1, 0.5], primary=None)
    assert "checkpoint of step 1" in done(root, run_id)
    assert 'no checkpoint "best"' in refused(root, run_id, "--checkpoint", "best", "--to", "x")


def test_run_without_checkpoints(root: Path) -> None:
    run_id = indexed(root)
    assert 'no checkpoint "latest": none was kept' in refused(root, run_id, "--only", "checkpoint")
    assert "checkpoint" not in done(root, run_id)


def test_parts_alone(root: Path) -> None:
    run_id = indexed(root, [0.5])
    done(root, run_id, "tools/", "--to", "a")
    assert {path.name for path in (root / "a").rglob("*")} == {"tools", "run.sh", "latest"}
    done(root, run_id, "./train.py", "model.pt", "--to", "b")
    assert {path.name for path in (root / "b").rglob("*")} == {"train.py", "model.pt"}
    done(root, run_id, "--only", "code", "--to", "c")
    assert not (root / "c/model.pt").exists()
    assert 'has no file or folder "nope"' in refused(root, run_id, "nope", "--to", "d")


def test_checkpoint_makes_way_for_the_code(root: Path) -> None:
    run_id, _ = make_coded(root, [0.5])
    add_code(record_of(root, run_id), {"model.pt/x.py": b"x", "checkpoint": b"y"})
    run_index(root)
    found = json.loads(done(root, run_id, "--json"))
    place = found["checkpoint"]["path"]
    assert place == f"checkpoint-{found['checkpoint']['model_id']}/model.pt"
    assert (folder_of(root, run_id) / place).read_bytes() == b"0" * 1000
    assert (folder_of(root, run_id) / "model.pt/x.py").read_bytes() == b"x"


def test_checkpoint_comes_in_place_of_the_file_that_the_run_before_kept(root: Path) -> None:
    """An untracked model.pt is in the snapshot: there it is the weights of another run."""
    run_id, _ = checkpoints.make_run(root, [0.5])
    add_code(record_of(root, run_id), {"model.pt": b"old weights", "train.py": b"pass"}, {})
    run_index(root)
    assert "  checkpoint of step 0: model.pt (the code had one of that name)\n" in done(
        root, run_id
    )
    stored = next(root.glob("mlruns/*/models/*/artifacts/model.pt")).read_bytes()
    assert (folder_of(root, run_id) / "model.pt").read_bytes() == stored != b"old weights"


def test_model_that_mlflow_logged_becomes_a_folder(root: Path) -> None:
    run_id, (model_id,) = checkpoints.make_run(root, [0.5], kind="")
    artifacts = root / "mlruns/1/models" / model_id / "artifacts"
    (artifacts / "runback/checkpoint.json").unlink()
    (artifacts / "MLmodel").write_text("flavors: {}")
    record = record_of(root, run_id)
    known = manifest.read(record, run_id)
    manifest.finish(record, known, {}, {model_id: manifest.digests(artifacts)})
    add_code(record, CODE)
    run_index(root)
    assert "checkpoint of step 0: model\n" in done(root, run_id)
    assert (folder_of(root, run_id) / "model/MLmodel").read_text() == "flavors: {}"
    edit_manifest(root, run_id, lambda known: known.update(models={}))
    found = call(root, "checkout", run_id, "--to", "code")
    assert "without its checkpoint: " in found.stderr
    assert "has no digests" in found.stderr
    assert not (root / "code/model").exists()
    assert "has no digests" in refused(root, run_id, "--checkpoint", "latest", "--to", "x")


def test_json(root: Path) -> None:
    run_id = indexed(root, [0.5])
    found = json.loads(done(root, run_id, "train.py", "model.pt", "--json"))
    model_id = found["checkpoint"].pop("model_id")
    assert model_id.startswith("m-")
    assert found == {
        "run_id": run_id,
        "folder": str(folder_of(root, run_id)),
        "code": ["train.py"],
        "checkpoint": {"name": "model", "step": 0, "path": "model.pt"},
        "left_out": {"big.bin": "20 MB"},
        "skipped": "",
        "replaced": [],
        "command": COMMAND,
    }


def test_quiet_prints_what_cd_takes(root: Path) -> None:
    run_id = indexed(root)
    assert done(root, run_id, "-q", "--to", "x/y") == "x/y\n"


@pytest.mark.parametrize("columns", [40, 100])
def test_on_a_terminal(root: Path, columns: int) -> None:
    run_id = indexed(root, [0.5])
    screen = on_terminal("checkout", run_id, "--to", "x", cwd=root, columns=columns)
    assert screen.text == (
        "x\n  code: 4 files\n  checkpoint of step 0: model.pt\n"
        "  it was run by: cd x && /usr/bin/python3 train.py --name 'a b'\n"
        "not in the snapshot: big.bin (20 MB)\n"
    )


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc", "_.._etc"),
        (".hidden", "hidden"),
        ("a/b\\c", "a_b_c"),
        ("x\ny\x1b[31m\u202e", "x_y_[31m_"),
        ("", "run"),
        ("...", "run"),
        ("-rf", "rf"),
        ("é" * 80, "é" * 50),
        ("a\udcff", "a_"),
    ],
)
def test_names_of_folders(name: str, safe: str) -> None:
    assert safe_name(name, "run") == safe


def test_snapshots_leave_checkouts_out(root: Path) -> None:
    run_id = indexed(root)
    done(root, run_id)
    (root / "train.py").write_text("mine")
    assert leaving.walk(root)[0] == ["train.py"]


def test_what_runs_in_a_checkout_is_recorded_as_its_code(root: Path) -> None:
    """Though the project around it is a repository, which ignores it."""
    run_id = indexed(root)
    done(root, run_id)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / "train.py").write_text("mine")
    folder = folder_of(root, run_id)
    assert snapshot.project_root(folder, folder / "tools" / "new.py") == folder.resolve()
    assert snapshot.take(folder).files["train.py"].data == CODE["train.py"]
    assert snapshot.project_root(root, root / "train.py") == root.resolve()
    assert "train.py" in snapshot.take(root).files
    assert not any("checkouts" in name for name in snapshot.take(root).files)


# What is there already.


def test_nothing_is_overwritten_unasked(root: Path) -> None:
    run_id = indexed(root)
    done(root, run_id)
    (folder_of(root, run_id) / "train.py").write_text("edited")
    message = refused(root, run_id)
    assert "is there and is not empty: nothing was written" in message
    assert "--overwrite" in message
    (root / "file").write_text("x")
    assert "is no folder" in refused(root, run_id, "--to", "file", "--overwrite")
    (root / "link").symlink_to("nowhere")
    assert "is no folder" in refused(root, run_id, "--to", "link")


def test_overwrite_replaces_its_files_and_no_others(root: Path) -> None:
    run_id = indexed(root)
    folder = folder_of(root, run_id)
    (folder / "tools").mkdir(parents=True)
    (folder / "train.py").write_text("edited")
    (folder / "tools/mine.py").write_text("mine")
    (folder / "tools/latest").write_text("no link yet")
    done(root, run_id, "--overwrite")
    assert (folder / "train.py").read_bytes() == CODE["train.py"]
    assert (folder / "tools/mine.py").read_text() == "mine"
    assert (folder / "tools/latest").is_symlink()


def test_overwrite_follows_no_link_and_replaces_no_folder(root: Path, tmp_path: Path) -> None:
    run_id = indexed(root)
    (tmp_path / "elsewhere").mkdir()
    (root / "a").mkdir()
    (root / "a/tools").symlink_to(tmp_path / "elsewhere")
    assert "a/tools is no folder, and one in the checkout" in refused(
        root, run_id, "--to", "a", "--overwrite"
    )
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (root / "b/train.py").mkdir(parents=True)
    assert "is a folder, and a file in the checkout" in refused(
        root, run_id, "--to", "b", "--overwrite"
    )


def test_empty_folder_and_the_one_we_stand_in(root: Path) -> None:
    run_id = indexed(root)
    (root / "empty").mkdir()
    done(root, run_id, "--to", "empty")
    here = root / "here"
    here.mkdir()
    inode = here.stat().st_ino
    found = subprocess.run(
        [sys.executable, "-m", "runback", "checkout", run_id, "--store", "..", "--to", "."],
        cwd=here,
        env=plain_environ(),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(".\n")
    assert here.stat().st_ino == inode, "a shell that stands in it still does"
    assert tree(here).keys() == {path.replace("/empty", "/here") for path in tree(root / "empty")}


# What is missing or damaged.


def test_no_store_no_record_no_code(tmp_path: Path, root: Path) -> None:
    assert "there is no mlflow.db" in refused(tmp_path, "x")
    bare = run_of(make_record(root / "mlruns"))
    gone = run_of(make_record(root / "mlruns"))
    run_index(root)
    assert "has no code in its record: its manifest names none" in refused(root, bare)
    for path in sorted((root / "mlruns/1" / gone).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert f"run {gone[:8]} has no folder" in refused(root, gone)


def test_damaged_checkpoint_is_refused_with_its_digests(root: Path) -> None:
    run_id, (model_id,) = make_coded(root, [0.5])
    run_index(root)
    path = root / "mlruns/1/models" / model_id / "artifacts/model.pt"
    expected = files.digest(path)["digest"]
    path.chmod(0o644)
    path.write_bytes(b"0" * 999 + b"1")
    found = "sha256:" + hashlib.sha256(b"0" * 999 + b"1").hexdigest()
    assert refused(root, run_id) == (
        f"error: {path} is damaged: model.pt\n  recorded {expected}\n  found    {found}\n"
        "hint: runback verify RUN says what is whole\n"
    )
    path.write_bytes(b"")
    assert "found    sha256:e3b0c442" in refused(root, run_id)
    path.unlink()
    assert "is missing" in refused(root, run_id)
    path.symlink_to("/etc/hostname")
    assert "is a symbolic link" in refused(root, run_id)


def test_damaged_code_is_refused_with_its_digests(root: Path) -> None:
    run_id = indexed(root)
    known = manifest.read(record_of(root, run_id), run_id)
    real = known["code"]["files"]["train.py"]
    edit_manifest(
        root, run_id, lambda k: k["code"]["files"].update({"train.py": "sha256:" + "0" * 64})
    )
    message = refused(root, run_id)
    assert f"is damaged: train.py\n  recorded sha256:{'0' * 64}\n  found    {real}\n" in message
    edit_manifest(root, run_id, lambda k: k["code"]["files"].update({"train.py": real}))
    edit_manifest(root, run_id, lambda k: k["code"].update(digest="sha256:" + "0" * 64))
    assert "its links or executable bits" in refused(root, run_id)
    archive = record_of(root, run_id) / files.CODE
    archive.write_bytes(archive.read_bytes()[:-30])
    assert "code.tar.gz" in refused(root, run_id)
    archive.unlink()
    assert "code.tar.gz is missing" in refused(root, run_id)


# What a stranger may have made.


def member(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(found, field, value)
    content = content if found.isreg() else b""
    found.size = len(content)
    return found, content


def sha(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def hostile(
    root: Path, members: list[tuple[tarfile.TarInfo, bytes]], names: dict[str, str], size: int = 9
) -> str:
    """Write a run whose archive and manifest agree on these files; return its id."""
    record = make_record(root / "mlruns")
    with tarfile.open(record / files.CODE, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    run_id = run_of(record)
    whole = hashlib.sha256()
    for name in sorted(names, key=os.fsencode):
        kind = next(("link" for info, _ in members if info.name == name and info.issym()), "file")
        whole.update(os.fsencode(name) + f"\0{kind}\0{names[name]}\n".encode())
    code = {"files": names, "size_bytes": size, "digest": f"sha256:{whole.hexdigest()}"}
    manifest.finish(record, {**manifest.read(record, run_id), "code": code}, {}, {})
    run_index(root)
    return run_id


X = sha(b"x")
LINK = {"type": tarfile.SYMTYPE}


@pytest.mark.parametrize(
    ("members", "names", "message"),
    [
        ([member("../out")], {"../out": X}, "leads out of its folder: '../out'"),
        ([member("/tmp/out")], {"/tmp/out": X}, "leads out of its folder: '/tmp/out'"),
        ([member("a/../../out")], {"a/../../out": X}, "leads out of its folder"),
        ([member("a\0b")], {"a\0b": X}, "leads out of its folder"),
        (
            [member("d", linkname="/tmp", **LINK), member("d/out")],
            {"d": sha(b"/tmp"), "d/out": X},
            "is a folder too: 'd'",
        ),
        ([member("d", linkname="/tmp", **LINK)], {"d": sha(b"/tmp")}, "link out of its folder"),
        ([member("d", linkname="../..", **LINK)], {"d": sha(b"../..")}, "link out of its folder"),
        (
            # Each alone stays inside; together they lead out.
            [
                member("a/b", linkname="..", **LINK),
                member("c", linkname="a/b/..", **LINK),
            ],
            {"a/b": sha(b".."), "c": sha(b"a/b/..")},
            "link out of its folder",
        ),
        ([member("dev", type=tarfile.CHRTYPE)], {"dev": X}, "'dev', which is no plain file"),
        ([member("pipe", type=tarfile.FIFOTYPE)], {"pipe": X}, "which is no plain file"),
        ([member("folder", type=tarfile.DIRTYPE)], {"folder": X}, "which is no plain file"),
        (
            [member("a"), member("h", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
            {"a": X, "h": X},
            "'h', which is no plain file",
        ),
        ([member("a"), member("b")], {"a": X}, "holds 'b', which was not run"),
        ([member("a")], {"a": X, "b": X}, "lacks 'b'"),
        ([member("a"), member("a")], {"a": X}, "holds 'a' twice"),
        ([member("a", b"0" * 50_000_000)], {"a": X}, "holds more than its manifest says"),
        (
            [
                member(
                    "a",
                    b"",
                    size=0,
                    pax_headers={
                        "GNU.sparse.size": "99999999999",
                        "GNU.sparse.major": "0",
                        "GNU.sparse.minor": "1",
                        "GNU.sparse.map": "0,0",
                    },
                )
            ],
            {"a": X},
            "holds more than its manifest says",
        ),
    ],
)
def test_hostile_archive_writes_nothing(
    root: Path,
    members: list[tuple[tarfile.TarInfo, bytes]],
    names: dict[str, str],
    message: str,
) -> None:
    run_id = hostile(root, members, names)
    assert message in refused(root, run_id, "--to", "deep/new")


def test_mode_bits_are_not_taken_over(root: Path) -> None:
    run_id = hostile(root, [member("a", mode=0o6677)], {"a": X})
    done(root, run_id, "--to", "x")
    assert (root / "x/a").stat().st_mode & 0o7111 == 0


def test_hostile_checkpoint_writes_nothing(root: Path, tmp_path: Path) -> None:
    run_id, (model_id,) = make_coded(root, [0.5])
    run_index(root)
    artifacts = root / "mlruns/1/models" / model_id / "artifacts"
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("x")
    (artifacts / "ckpt").symlink_to(secret)
    known = checkpoint.read(artifacts, model_id)
    about = artifacts / "runback/checkpoint.json"
    content = json.loads(about.read_text())
    for path, names, message in (
        ("ckpt", ["ckpt/key"], "ckpt is a symbolic link: not followed"),
        ("..", ["../x"], "has no proper path"),
        ("a", ["a/../../x"], "names a file that is not in"),
    ):
        listed = {name: files.digest(secret / "key") for name in names}
        files.write_json(about, {**content, "path": path, "files": listed})
        assert message in refused(root, run_id)
    files.write_json(about, {**content, "run_id": "f" * 32})
    assert "is of another run" in refused(root, run_id)
    assert known.run_id == run_id


def test_words_of_a_stranger_do_not_steer_the_terminal(root: Path) -> None:
    run_id = indexed(root)
    evil = {"argv": ["python", "\x1b]0;x\x07\nrm -rf"], "working_directory": "\x1b[2J"}
    edit_manifest(root, run_id, lambda known: known.update(command=evil))
    found = call(root, "checkout", run_id)
    assert "\x1b" not in found.stdout + found.stderr
    assert len(found.stdout.splitlines()) == 3
    for command in (3, {"argv": 3}, {"argv": [3, None], "working_directory": 3}):
        edit_manifest(root, run_id, lambda known, c=command: known.update(command=c))  # type: ignore[misc]
        done(root, run_id, "--overwrite")


# Kills.


def test_kill_leaves_the_folder_absent_or_whole(root: Path) -> None:
    """At random instants after it began to write; the next one sweeps what a killed one left."""
    run_id, _ = make_coded(root, [0.5], contents=[bytes(3_000_000)])
    code: dict[str, bytes | str | CodeFile] = {f"f{n}.py": b"x" * n for n in range(200)}
    add_code(record_of(root, run_id), code)
    run_index(root)
    folder = folder_of(root, run_id)
    done(root, run_id)
    whole = tree(folder)
    assert len(whole) == 201
    for _ in range(10):
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        kill_while_it_writes(root, run_id)
        assert not folder.exists() or tree(folder) == whole
    done(root, run_id, "--overwrite")
    assert tree(folder) == whole
    assert sorted(path.name for path in folder.parent.iterdir()) == [".gitignore", folder.name]


def kill_while_it_writes(root: Path, run_id: str) -> None:
    before = set((root / "checkouts").iterdir())
    process = Started(
        [sys.executable, "-m", "runback", "checkout", run_id, "-q"],
        cwd=root,
        env=plain_environ(),
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and before == set((root / "checkouts").iterdir()):
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.wait()


def test_interrupt_leaves_nothing(root: Path) -> None:
    run_id, _ = make_coded(root, [0.5], contents=[bytes(3_000_000)])
    run_index(root)
    before = tree(root)
    code = (
        "import sys; from runback.runs import draft; from runback.cli import main\n"
        "def publish(*a): raise KeyboardInterrupt\n"
        "draft.Draft.publish = publish; sys.argv[1:] = ['checkout', '" + run_id + "']; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=plain_environ(), capture_output=True, text=True
    )
    assert (found.returncode, found.stderr.strip()) == (130, "interrupted")
    assert tree(root) == before


def test_draft_of_another_at_work_is_left_alone(root: Path) -> None:
    from runback.runs.draft import drafted

    run_id = indexed(root)
    target = folder_of(root, run_id)
    with drafted(target, ignored=True) as mine:
        done(root, run_id)
        assert mine.folder.exists()
        (root / "checkouts" / f".{target.name}.runback-draft-dead").mkdir()
        done(root, run_id, "--overwrite")
        assert not (root / "checkouts" / f".{target.name}.runback-draft-dead").exists()
        assert mine.folder.exists()


# open.


def opened(root: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "runback", "open", *words]
    found = subprocess.run(command, cwd=root, env=plain_environ(), capture_output=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_files_are_listed(root: Path) -> None:
    run_id = indexed(root)
    lines = opened(root, run_id).decode().splitlines()
    assert lines[:3] == ["SIZE\tARTIFACT", "23\tnotes.txt", "6\tplots/accuracy.png"]
    assert [line.split("\t")[1] for line in lines[3:]] == [
        f"runback/{name}" for name in ("code.tar.gz", "manifest.json", "run.json")
    ]
    entry = json.loads(opened(root, run_id, "--json"))[0]
    file = root / "mlruns/1" / run_id / "artifacts/notes.txt"
    assert entry == {"path": "notes.txt", "size_bytes": 23, "file": str(file)}
    for columns in (40, 100):
        screen = on_terminal("open", run_id, cwd=root, columns=columns)
        lines = [line.strip() for line in screen.text.splitlines()]
        assert lines[:3] == ["SIZE  ARTIFACT", "23 B  notes.txt", "6 B  plots/accuracy.png"]
        assert screen.width <= columns


def test_piped_it_is_the_bytes(root: Path) -> None:
    run_id = indexed(root)
    assert opened(root, run_id, "accuracy.png") == b"\x89PNG\0\xff"
    assert opened(root, run_id, "notes.txt") == "caf\u00e9\tis\r\n\x1b[31mred\x1b[0m\n".encode()
    assert json.loads(opened(root, run_id, "runback/manifest.json"))["run_id"] == run_id
    path = root / "mlruns/1" / run_id / "artifacts/plots/accuracy.png"
    assert opened(root, run_id, "plots/accuracy.png", "--path").decode() == f"{path}\n"


def test_on_a_terminal_text_is_tame_and_the_rest_is_named(root: Path) -> None:
    run_id = indexed(root)
    artifacts = root / "mlruns/1" / run_id / "artifacts"
    (artifacts / "page.html").write_text("<script>")
    screen = on_terminal("open", run_id, "notes.txt", cwd=root)
    assert screen.raw == "caf\u00e9\tis\r\n\\x1b[31mred\\x1b[0m\r\n"
    for name in ("plots/accuracy.png", "page.html"):
        assert on_terminal("open", run_id, name, cwd=root, columns=40).text.replace(
            "\n", ""
        ) == str(artifacts / name)


def test_another_program_opens_it_only_when_told_to(root: Path, tmp_path: Path) -> None:
    run_id = indexed(root)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/asked"\n')
    browser.chmod(0o755)
    on_terminal("open", run_id, "accuracy.png", cwd=root, environ={"BROWSER": str(browser)})
    assert not (tmp_path / "asked").exists()
    found = call(root, "open", run_id, "accuracy.png", "--external", BROWSER=str(browser))
    assert found.returncode == 0, found.stderr
    path = root / "mlruns/1" / run_id / "artifacts/plots/accuracy.png"
    assert (tmp_path / "asked").read_text() == f"{path.as_uri()}\n"


def test_letter_that_is_cut_in_half_is_text(root: Path) -> None:
    run_id = indexed(root)
    artifacts = root / "mlruns/1" / run_id / "artifacts"
    (artifacts / "long.txt").write_bytes(b"x" * 7_999 + "\u00e9".encode() * 2)
    (artifacts / "half.txt").write_bytes(b"x" + "\u00e9".encode()[:1])
    assert "x\u00e9\u00e9" in on_terminal("open", run_id, "long.txt", cwd=root).raw
    assert on_terminal("open", run_id, "half.txt", cwd=root).text.endswith("half.txt\n")


def test_closed_pipe_is_quiet(root: Path) -> None:
    run_id = indexed(root)
    (root / "mlruns/1" / run_id / "artifacts/big.txt").write_bytes(b"line\n" * 200_000)
    for words in (f"open {run_id} big.txt", f"open {run_id}", f"diff {run_id} {run_id} --all"):
        command = f"{shlex.quote(sys.executable)} -m runback {words} | head -1"
        found = subprocess.run(
            ["bash", "-c", command], cwd=root, env=plain_environ(), capture_output=True, text=True
        )
        assert found.stdout.count("\n") == 1
        assert found.stderr in ("", "in no snapshot, not compared: big.bin\n")


def test_what_is_meant_must_be_clear_and_inside(root: Path, tmp_path: Path) -> None:
    run_id = indexed(root)
    artifacts = root / "mlruns/1" / run_id / "artifacts"
    (artifacts / "old").mkdir()
    (artifacts / "old/accuracy.png").write_bytes(b"\0")
    (tmp_path / "secret").write_text("x")
    (artifacts / "link.txt").symlink_to(tmp_path / "secret")
    (artifacts / "folder").symlink_to(tmp_path)
    found = call(root, "open", run_id, "accuracy.png")
    assert (found.returncode, found.stdout) == (3, "")
    assert (
        '2 files that end in "accuracy.png"\n  old/accuracy.png\n  plots/accuracy.png'
        in found.stderr
    )
    for name in ("link.txt", "folder/secret", "../../../../secret", str(tmp_path / "secret"), ""):
        found = call(root, "open", run_id, name)
        assert (found.returncode, found.stdout) == (3, ""), name
        assert "has no file or folder" in found.stderr
    found = call(root, "open", run_id, "note.txt")
    assert "near it: notes.txt\n" in found.stderr
    assert call(root, "open", run_id, "--path").returncode == 2
    assert "there is no mlflow.db" in call(tmp_path, "open", "x").stderr


def test_nothing_heavy_is_imported(root: Path) -> None:
    run_id = indexed(root, [0.5])
    for words in (["checkout", run_id], ["open", run_id], ["open", run_id, "notes.txt"]):
        assert not loaded(root, *words) & {"mlflow", "numpy", "pandas", "rich"}


# What capture writes.

TRAINS = """
import mlflow, runback
from pathlib import Path
with mlflow.start_run(run_name="real"):
    with runback.init(path=".", params={"lr": 0.1}) as experiment:
        for step, loss in enumerate([0.3, 0.1, 0.2]):
            Path("weights").mkdir(exist_ok=True)
            Path("weights/a.bin").write_bytes(b"%d" % step)
            experiment.checkpoint("weights", step, {"loss": loss}, ("loss", "minimize"))
print("said")
"""


def test_run_that_capture_recorded(tmp_path: Path, template: Path) -> None:
    store = training.make(tmp_path / "store", template)
    (store.root / "train.py").write_text(TRAINS)
    (store.root / "train.py").chmod(0o755)
    found = subprocess.run(
        [sys.executable, "train.py"], cwd=store.root, env=store.environ(), capture_output=True
    )
    assert found.returncode == 0, found.stderr
    store.index()
    shown = store.runback("checkout", "real")
    run_id = store.named("real")
    assert shown.stdout == (
        f"checkouts/real-{run_id[:8]}\n  code: 1 file\n  checkpoint of step 1: weights\n"
        f"  it was run by: cd checkouts/real-{run_id[:8]}"
        f" && {shlex.quote(sys.executable)} train.py\n"
    )
    copy = store.root / f"checkouts/real-{run_id[:8]}/train.py"
    assert copy.read_text() == TRAINS
    assert os.access(copy, os.X_OK)
    weights = copy.parent / "weights/a.bin"
    assert weights.read_bytes() == b"1"
    weights.write_bytes(b"mine now")
    assert store.problems(run_id) == []
    assert "said\n" in store.runback("open", "real", "output.log").stdout
