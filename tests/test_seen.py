"""What a record also sees: edits in place, ignored modules, variables that code reads, threads."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from training import Store, make

from runback.capture import command, consulted, edited, imported, packages, replayed, snapshot
from runback.capture.reading import CodeFile


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


# edited


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder of packages with one of two files, as pip leaves it."""
    folder = tmp_path / "lib" / "site-packages"
    texts = {"net/__init__.py": "x = 1\n", "net/deep/layer.py": "y = 2\n"}
    write(folder, texts)
    lines = [f"{name},{recorded(text)},{len(text)}" for name, text in texts.items()]
    lines += ["../../bin/net,sha256=abc,3", "net-1.0.dist-info/RECORD,,", "net/__init__.pyc,,"]
    write(folder, {"net-1.0.dist-info/RECORD": "\n".join(lines) + "\n"})
    for path in texts:
        os.utime(folder / path, (1_000_000, 1_000_000))
    return folder


def recorded(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"


def seen(site: Path) -> dict[str, str]:
    return edited.describe([str(path) for path in site.rglob("*.py")])


def test_packages_as_installed(site: Path) -> None:
    assert seen(site) == {}
    for path in site.rglob("*.py"):  # touched, and the same
        os.utime(path)
    assert seen(site) == {}


def test_files_edited_in_place(site: Path) -> None:
    write(site, {"net/deep/layer.py": "y = 3\n", "net/__init__.py": "x = 1  # longer\n"})
    os.utime(site / "net/__init__.py", (1_000_000, 1_000_000))
    expected = {"net/__init__.py": sha256(b"x = 1  # longer\n")}
    assert seen(site) == {**expected, "net/deep/layer.py": sha256(b"y = 3\n")}


def test_files_that_no_package_claims_are_not_edited(site: Path, tmp_path: Path) -> None:
    write(site, {"own.py": "1", "net/own.py": "1"})
    (site / "net/deep/layer.py").unlink()
    gone = str(site / "net/deep/layer.py")
    assert edited.describe([gone, str(site / "own.py"), "/etc/hosts", str(tmp_path / "a.py")]) == {}


def test_records_that_are_nonsense_accuse_nobody(site: Path) -> None:
    path = site / "net-1.0.dist-info/RECORD"
    for text in (b"\xff\xfe\0", b"net/__init__.py\n", b"net/__init__.py,md5=3,x\n,,\n"):
        path.write_bytes(text)
        assert seen(site) == {}


def test_this_process_can_be_asked() -> None:
    import click

    code = "import click, json; from runback.capture import edited\n"
    code += "print(json.dumps(edited.describe()))"
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    found = json.loads(subprocess.check_output([sys.executable, "-c", code], env=environ))
    assert not [name for name in found if name.startswith("click/")], click.__file__


def test_scripts_are_no_part_of_a_package_digest(site: Path) -> None:
    before = packages.installed([str(site)])
    record = site / "net-1.0.dist-info/RECORD"
    record.write_text(record.read_text().replace("net,sha256=abc,3", "net,sha256=def,4"))
    assert packages.installed([str(site)]) == before
    record.write_text(record.read_text().replace(",6", ",7"))
    assert packages.installed([str(site)]) != before


@given(st.lists(st.sampled_from([b"../bin/a,x,1", b"a/../b,,", b"a.py,sha256=x,3", b""])))
def test_scripts_are_left_out_wherever_they_stand(lines: list[bytes]) -> None:
    kept = [line + b"\n" for line in lines if not line.startswith(b"../")]
    assert packages._without_scripts(b"".join(line + b"\n" for line in lines)) == b"".join(kept)


# imported


def test_modules_that_the_snapshot_lacks(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": "", "local.py": "x = 1", "sub/net.py": "", ".venv/pyvenv.cfg": ""})
    write(tmp_path, {".venv/lib/extra.py": "", "v/site-packages/a.py": ""})
    paths = [str(path) for path in tmp_path.rglob("*.py")]
    known = {"train.py", "sub/net.py"}
    expected = {"local.py": {"digest": sha256(b"x = 1"), "size_bytes": 5}}
    assert imported.describe(tmp_path, known, [*paths, os.__file__, "/nowhere/x.py"]) == expected


def test_links_and_linked_projects(tmp_path: Path) -> None:
    write(tmp_path, {"real/train.py": "", "elsewhere/local.py": "x = 1"})
    (tmp_path / "real/local.py").symlink_to(tmp_path / "elsewhere/local.py")
    (tmp_path / "link").symlink_to("real")
    for project in ("real", "link"):
        for way in ("real", "link"):
            found = imported.describe(tmp_path / project, [], [str(tmp_path / way / "local.py")])
            assert found == {"local.py": {"digest": sha256(b"x = 1"), "size_bytes": 5}}


def test_files_of_a_record_as_they_are_now(tmp_path: Path) -> None:
    write(tmp_path, {"local.py": "x = 1"})
    found = imported.digests(tmp_path, ["local.py", "gone.py", "nul\0"])
    assert found == {"local.py": {"digest": sha256(b"x = 1"), "size_bytes": 5}}


# consulted


def names(text: str) -> set[str]:
    return set(consulted.names({"a.py": CodeFile(text.encode())}))


@pytest.mark.parametrize(
    "code",
    [
        'os.environ["X1"]',
        "os.environ['X1']",
        "environ.get('X1', '3')",
        'os.environ.get(\n    "X1"\n)',
        'os.getenv("X1")',
        "getenv( 'X1' )",
        "os.environb[b'X1']",
        'os.environ.setdefault("X1", "a")',
        'os.environ.pop("X1", None)',
        'os.environ["X1"] == "a"',
        'if "X1" not in os.environ: pass',
    ],
)
def test_variables_that_code_reads(code: str) -> None:
    assert names(code) == {"X1"}


@pytest.mark.parametrize(
    "code",
    [
        'os.environ["X1"] = "a"',
        "os.environ[X1]",
        'settings.get("X1")',
        'os.environ["HOME"]',
        'os.environ["RUNBACK_REPLAY"]',
        'os.environ["MLFLOW_TRACKING_USERNAME"]',
        '"X1" in names',
    ],
)
def test_what_is_no_variable_that_matters(code: str) -> None:
    assert names(code) == set()


def test_only_source_is_searched() -> None:
    found = consulted.names({"a.md": CodeFile(b'os.environ["X1"]'), "b.py": CodeFile(b"\xff")})
    assert found == frozenset()


def test_variables_of_the_code_are_kept_and_secrets_are_not(tmp_path: Path) -> None:
    environ = {"AUGMENT": "1", "DB_PASSWORD": "x", "DB_USER": "x", "OTHER": "1"}
    environ |= {"SITE": "https://joe:pw@host/a", "OMP_NUM_THREADS": "2"}
    read = {"AUGMENT", "DB_PASSWORD", "DB_USER", "SITE", "MODE", "API_KEY", "LOGIN_NAME"}
    facts = command.describe(tmp_path, ["python"], environ, read)
    assert facts["environ"] == {
        "AUGMENT": "1",
        "OMP_NUM_THREADS": "2",
        "SITE": "https://host/a",
    }
    assert facts["unset"] == ["MODE"]


# the snapshot of a replay


def lay_out(store: Path, files: dict[str, str], listed: object) -> Path:
    folder = store / "replays" / "digits-1a2b3c4d"
    write(folder / "code", files)
    (folder / "attempt.json").write_text(json.dumps({"format": 1, "files": listed}))
    (store / "replays/.gitignore").write_text("*\n")
    return folder / "code"


def test_replay_takes_what_was_laid_out(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    files = {"src/train.py": "print(1)", "data/notes.bin": "x", "build/gen.py": "y"}
    write(source, files)
    (source / "src/train.py").chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=source, check=True)
    original = snapshot.take(source)
    write(store, {"pyproject.toml": "", "train.py": ""})
    subprocess.run(["git", "init", "-q"], cwd=store, check=True)
    code = lay_out(store, files, sorted(original.files))
    (code / "src/train.py").chmod(0o755)
    write(code, {"outputs.txt": "the training wrote this", "src/__pycache__/a.pyc": ""})
    assert snapshot.project_root(tmp_path, code / "src/train.py") == code
    assert snapshot.project_root(code / "src", None) == code
    again = snapshot.take(code)
    assert (again.left_out, again.git) == ({}, None)
    one, two = (snapshot.describe(s, tmp_path)["digest"] for s in (original, again))
    assert one == two
    assert list(snapshot.take(store).files) == ["pyproject.toml", "train.py"]


def test_folder_that_only_looks_like_a_replay(tmp_path: Path) -> None:
    code = lay_out(tmp_path, {"train.py": ""}, "no list")
    assert replayed.root(code) is None
    code = lay_out(tmp_path, {"train.py": ""}, ["train.py", "../../secret", "/etc/passwd", 3])
    assert replayed.root(code / "sub") == code
    assert list(snapshot.take(code).files) == ["train.py"]
    (code.parent / "attempt.json").write_text("[" * 100_000)
    assert replayed.root(code) is None


def test_replays_are_no_code_without_git_either(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": ""})
    lay_out(tmp_path, {"copy.py": ""}, [])
    assert list(snapshot.take(tmp_path).files) == ["train.py"]


# a training, whole

TRAINING = """\
import os, ctypes, mlflow, numpy, ignored
numpy.ones((4, 4)) @ numpy.ones((4, 4))
os.environ.get("AUGMENT"), os.environ.get("MODE")
with mlflow.start_run():
    mlflow.log_metric("loss", 1.0)
"""


def test_record_of_a_training(tmp_path: Path, template: Path) -> None:
    store: Store = make(tmp_path / "store", template)
    write(store.root, {"train.py": TRAINING, "ignored.py": "x = 1", ".gitignore": "ignored.py\n"})
    subprocess.run(["git", "init", "-q"], cwd=store.root, check=True)
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=store.root,
        env={**store.environ(), "AUGMENT": "yes"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (run_id,) = store.runs()
    known = json.loads((store.record(run_id) / "manifest.json").read_text())
    assert known["at_end"]["imported"] == {
        "ignored.py": {"digest": sha256(b"x = 1"), "size_bytes": 5}
    }
    assert known["at_end"]["edited"] == {}
    assert any("openblas" in name for name in known["at_end"]["threads"])
    assert known["at_end"]["usable_cores"] == len(os.sched_getaffinity(0))
    assert known["command"]["environ"]["AUGMENT"] == "yes"
    assert known["command"]["unset"] == ["MODE"]
