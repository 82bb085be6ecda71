"""runback diff: what differs is found and shown, and what was not compared is never equal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import training
from conftest import plain_environ
from hypothesis import given
from hypothesis import strategies as st
from records import add_code, make_record, make_store, run_index, run_of
from screens import loaded, on_terminal

from runback.capture.snapshot import CodeFile
from runback.record import files, manifest
from runback.record.metrics import Point
from runback.runs import diff as verb
from runback.runs import facts, patch

MS = 1_700_000_000_000
DIGEST = "sha256:" + "5" * 64
BEFORE = {
    "train.py": b"import mlflow\nrate = 0.1\nprint(rate)\n",
    "old.py": b"gone = 1\n",
    "same.py": b"same = 1\n",
    "blob.bin": b"\0\1\2",
    "latest": "train.py",
    "run.sh": b"python train.py\n",
    "my notes.txt": b"one\ntwo",
}
AFTER = {
    "train.py": b"import mlflow\nrate = 0.2\nprint(rate)\n",
    "new/deep.py": b"new = 1\n",
    "same.py": b"same = 1\n",
    "blob.bin": b"\0\1\3",
    "latest": "same.py",
    "run.sh": CodeFile(b"python train.py\n", executable=True),
    "my notes.txt": b"one\nthree\n",
    "empty.py": b"",
    'q"uo\tte\\.py': "caf\u00e9\n".encode("latin-1"),
}


def about(**changes: Any) -> dict[str, Any]:
    """Return the parts of a manifest beside the code."""
    known: dict[str, Any] = {
        "environment": {
            "python": "3.11.7",
            "executable": "/usr/bin/python3",
            "os": {"platform": "linux-x86_64"},
            "packages": {"keras": f"3.1.0 {DIGEST}", "numpy": f"2.0.0 {DIGEST}"},
            "lock": DIGEST,
            "image": None,
        },
        "machine": {
            "host": "gpuserver",
            "boot_id": "1-2-3",
            "cpu": {"model": "EPYC", "flags": ["avx", "avx2"]},
            "threads": {},
            "gpus": [{"name": "H100", "uuid": "GPU-1", "driver": "570.1"}],
        },
        "command": {
            "argv": ["/usr/bin/python3", "train.py", "--lr", "0.1"],
            "working_directory": ".",
            "pid": 1,
            "environ": {"TZ": "UTC", "MLFLOW_RUN_NAME": "one"},
        },
        "randomness": {"at_start": {"hash_randomization": True, "python_state": DIGEST}},
        "at_end": {
            "libraries": {"libcudnn": ["libcudnn.so.9.1"]},
            "numerics": {"numpy.matmul": "sha256:11"},
            "randomness": {"torch": {"cudnn_benchmark": False, "initial_seed": 1}},
        },
        "data": {"digits": {"path": "digits", "digest": DIGEST, "files": 3, "size_bytes": 9}},
    }
    return {**known, **changes}


def other() -> dict[str, Any]:
    """Return the parts of a manifest of another machine and command."""
    known = about()
    known["environment"]["packages"] = {"keras": f"3.2.0 {DIGEST}", "scipy": "1.0 editable"}
    known["machine"] |= {"host": "laptop", "boot_id": "4-5-6", "gpus": []}
    known["command"]["argv"] = ["/opt/python3", "train.py", "--lr", "0.2"]
    known["command"] |= {"pid": 2, "environ": {"TZ": "UTC", "MLFLOW_RUN_NAME": "two"}}
    known["at_end"]["numerics"] = {"numpy.matmul": "sha256:22"}
    known["data"]["digits"]["digest"] = "sha256:" + "6" * 64
    return known


def make_run(root: Path, letter: str, params: dict[str, str], loss: float, **parts: Any) -> Path:
    """Write a run with a name, params and a metric; parts: code and manifest."""
    run_id = letter * 32
    tags = {
        "runback.primary_metric": "loss minimize",
        "runback.best": f'{{"value": {loss / 2}, "step": 1}}',
    }
    rows = {
        "params": [{"key": k, "value": v, "run_uuid": run_id} for k, v in params.items()],
        "tags": [{"key": k, "value": v, "run_uuid": run_id} for k, v in tags.items()],
    }
    record = make_record(root / "mlruns", run_id, [Point("loss", loss, MS, 0, False)], rows=rows)
    if parts:
        add_code(record, **parts)
    return record


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """Return a store of four runs: two that differ, a twin of the first, one without a record."""
    folder = make_store(tmp_path_factory.mktemp("diff") / "lap töp", template)
    params = {"lr": "0.1", "batch": "32", "note": "x" * 40}
    big = {"big.csv": "20 MB"}
    make_run(folder, "a", params, 0.5, code=BEFORE, left_out=big, **about())
    changed = {"lr": "1e-1", "batch": "64", "warm": "yes", "note": "x" * 20 + "y" + "x" * 19}
    make_run(folder, "b", changed, 0.25, code=AFTER, left_out=big, **other())
    twin = about()
    twin["command"]["pid"] = 7
    twin["machine"]["boot_id"] = "7-8-9"
    make_run(folder, "c", {**params, "lr": "1e-1"}, 0.5, code=BEFORE, left_out=big, **twin)
    lost = make_run(folder, "d", params, 0.5)
    run_index(folder)
    shutil.rmtree(lost)
    return folder


def call(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runback", *words],
        cwd=root,
        env=plain_environ(),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=180,
    )


def out(root: Path, *words: str, status: int = 0) -> str:
    done = call(root, "diff", *words)
    assert done.returncode == status, done.stderr
    return done.stdout


# Screens.

PLAIN = r"""
params	batch	32	64
params	note	xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx	xxxxxxxxxxxxxxxxxxxxyxxxxxxxxxxxxxxxxxxx
params	warm	-	yes
metrics	loss	0.5	0.25
metrics	loss (best)	0.25	0.125
code	blob.bin	sha256:ae4b	sha256:b744
code	empty.py	-	sha256:e3b0
code	latest	sha256:ed18	sha256:3e7f
code	my notes.txt	sha256:2106	sha256:c9b0
code	new/deep.py	-	sha256:c5c9
code	old.py	sha256:55ab	-
code	q"uo\tte\.py	-	sha256:9e4e
code	train.py	sha256:69f9	sha256:3a8b
environment	package keras	3.1.0 sha256:5555	3.2.0 sha256:5555
environment	package numpy	2.0.0 sha256:5555	-
environment	package scipy	-	1.0 editable
machine	gpus.0.driver	570.1	-
machine	gpus.0.name	H100	-
machine	host	gpuserver	laptop
machine	numerics numpy.matmul	sha256:11	sha256:22
data	digits	sha256:5555	sha256:6666
command	argv	train.py --lr 0.1	train.py --lr 0.2
command	environ.MLFLOW_RUN_NAME	one	two
command	executable	/usr/bin/python3	/opt/python3
"""[1:]


def test_plain_lines(root: Path) -> None:
    done = call(root, "diff", "aaaa", "bbbb")
    assert re.sub(r"(sha256:[0-9a-f]{4})[0-9a-f]{60}", r"\1", done.stdout) == PLAIN
    assert done.stderr == "in no snapshot, not compared: big.csv\n"


WIDE = r"""
                           aaaaaaaa                             bbbbbbbb
                           run aaaa                             run bbbb
params
  batch                    32                                   64
  note                     …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx     …xxxxxxxxxxxyxxxxxxxxxxxxxxxxxxx
  warm                     -                                    yes
metrics
  loss                     0.5                                  0.25
  loss (best)              0.25                                 0.125
code
  blob.bin                 ae4b3280e56e                         b744d600fbe3
  empty.py                 -                                    e3b0c44298fc
  latest                   ed183d67207d                         3e7ffc7c42f6
  my notes.txt             21066d108d53                         c9b0fb1fa00b
  new/deep.py              -                                    c5c9ae930ea0
  old.py                   55ab38eb81d2                         -
  q"uo\tte\.py             -                                    9e4efed0ff1d
  train.py                 69f94f018970                         3a8bf415447d
environment
  package keras            3.1.0                                3.2.0
  package numpy            2.0.0                                -
  package scipy            -                                    1.0
machine
  gpus.0.driver            570.1                                -
  gpus.0.name              H100                                 -
  host                     gpuserver                            laptop
  numerics numpy.matmul    sha256:11                            sha256:22
data
  digits                   555555555555                         666666666666
command
  argv                     train.py --lr 0.1                    train.py --lr 0.2
  environ.MLFLOW_RUN_NAME  one                                  two
  executable               /usr/bin/python3                     /opt/python3
the same: status, randomness
in no snapshot, not compared: big.csv
"""[1:]


def test_wide_terminal(root: Path) -> None:
    screen = on_terminal("diff", "aaaa", "bbbb", cwd=root, columns=100)
    assert screen.text == WIDE
    assert screen.width <= 100


NARROW = r"""
aaaaaaaa  run aaaa
bbbbbbbb  run bbbb
params
  batch
    aaaaaaaa  32
    bbbbbbbb  64
  note
    aaaaaaaa  …xxxxxxxxxxxx…xxxxxxxxxxxx
    bbbbbbbb  …xxxxxxxxyxxx…xxxxxxxxxxxx
  warm
    aaaaaaaa  -
    bbbbbbbb  yes
metrics
  loss
    aaaaaaaa  0.5
    bbbbbbbb  0.25
  loss (best)
    aaaaaaaa  0.25
    bbbbbbbb  0.125
code
  blob.bin
    aaaaaaaa  ae4b3280e56e
    bbbbbbbb  b744d600fbe3
  empty.py
    aaaaaaaa  -
    bbbbbbbb  e3b0c44298fc
  latest
    aaaaaaaa  ed183d67207d
    bbbbbbbb  3e7ffc7c42f6
  my notes.txt
    aaaaaaaa  21066d108d53
    bbbbbbbb  c9b0fb1fa00b
  new/deep.py
    aaaaaaaa  -
    bbbbbbbb  c5c9ae930ea0
  old.py
    aaaaaaaa  55ab38eb81d2
    bbbbbbbb  -
  q"uo\tte\.py
    aaaaaaaa  -
    bbbbbbbb  9e4efed0ff1d
  train.py
    aaaaaaaa  69f94f018970
    bbbbbbbb  3a8bf415447d
environment
  package keras
    aaaaaaaa  3.1.0
    bbbbbbbb  3.2.0
  package numpy
    aaaaaaaa  2.0.0
    bbbbbbbb  -
  package scipy
    aaaaaaaa  -
    bbbbbbbb  1.0
machine
  gpus.0.driver
    aaaaaaaa  570.1
    bbbbbbbb  -
  gpus.0.name
    aaaaaaaa  H100
    bbbbbbbb  -
  host
    aaaaaaaa  gpuserver
    bbbbbbbb  laptop
  numerics numpy.matmul
    aaaaaaaa  sha256:11
    bbbbbbbb  sha256:22
data
  digits
    aaaaaaaa  555555555555
    bbbbbbbb  666666666666
command
  argv
    aaaaaaaa  train.py --lr 0.1
    bbbbbbbb  train.py --lr 0.2
  environ.MLFLOW_RUN_NAME
    aaaaaaaa  one
    bbbbbbbb  two
  executable
    aaaaaaaa  /usr/bin/python3
    bbbbbbbb  /opt/python3
the same: status, randomness
in no snapshot, not compared: big.csv
"""[1:]


def test_narrow_terminal(root: Path) -> None:
    screen = on_terminal("diff", "aaaa", "bbbb", cwd=root, columns=40)
    assert screen.text == NARROW
    assert screen.width <= 40


def test_runs_that_differ_in_ids_and_names_alone_are_the_same(root: Path) -> None:
    assert out(root, "aaaa", "cccc", "--exit-code") == ""
    known = json.loads(out(root, "aaaa", "cccc", "--json"))
    assert known["different"] is False
    assert all(section["same"] for section in known["sections"].values())
    assert known["sections"]["code"]["left_out"] == ["big.csv"]
    screen = on_terminal("diff", "aaaa", "cccc", cwd=root)
    assert screen.text == (
        "    aaaaaaaa  cccccccc\n    run aaaa  run cccc\n"
        "the same: status, params, metrics, code, environment, machine, data, command, randomness\n"
        "in no snapshot, not compared: big.csv\n"
    )


def test_exit_status_is_a_verdict_where_it_is_asked_for(root: Path) -> None:
    assert call(root, "diff", "aaaa", "bbbb").returncode == 0
    assert call(root, "diff", "aaaa", "bbbb", "--exit-code").returncode == 1
    assert call(root, "diff", "aaaa", "bbbb", "--patch").returncode == 0
    assert call(root, "diff", "aaaa", "bbbb", "--patch", "--exit-code").returncode == 1
    assert call(root, "diff", "aaaa", "cccc", "--patch", "--exit-code").returncode == 0


def test_run_without_a_record_is_compared_by_the_database_and_never_equal(root: Path) -> None:
    lines = out(root, "aaaa", "dddd", "--exit-code", status=1).splitlines()
    reason = f"run dddddddd has no folder in {root}/mlruns"
    sections = ("code", "environment", "machine", "data", "command")
    assert lines == [
        *(f"{section}\t(not compared)\t\t{reason}" for section in sections),
        f"randomness\t(not compared) at start, at end\t\t{reason}",
    ]
    screen = on_terminal("diff", "aaaa", "dddd", cwd=root, columns=300)
    assert f"{', '.join(sections)}, randomness at start, at end: {reason}\n" in screen.text
    assert "the same: status, params, metrics\n" in screen.text
    found = json.loads(out(root, "aaaa", "dddd", "--json", "--all"))
    row = found["sections"]["environment"]["rows"][0]
    assert (row["values"][1], row["differs"], row["unknown"]) == (None, False, ["d" * 32])
    done = call(root, "diff", "aaaa", "dddd", "--patch")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {reason}\n")


def test_each_of_more_runs_has_a_column(root: Path) -> None:
    lines = out(root, "aaaa", "bbbb", "cccc", "dddd").splitlines()
    assert "params\tbatch\t32\t64\t32\t32" in lines
    assert "machine\thost\tgpuserver\tlaptop\tgpuserver\t?" in lines
    assert "status\tstatus\tFINISHED\tFINISHED" in out(root, "aaaa", "bbbb", "--all")


def test_what_cannot_be_asked_is_a_usage_error(root: Path) -> None:
    for words in (["aaaa"], ["aaaa", "bbbb", "cccc", "--patch"], ["a", "b", "--patch", "--json"]):
        assert call(root, "diff", *words).returncode == 2
    assert call(root, "diff", "aaaa", "eeee").returncode == 3


def test_nothing_heavy_is_imported(root: Path) -> None:
    for words in (["diff", "aaaa", "bbbb"], ["diff", "aaaa", "cccc", "--patch"]):
        assert not loaded(root, *words) & {"mlflow", "numpy", "pandas", "rich"}


# Params.


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(17, 30))
def test_params_are_compared_as_numbers(value: float, digits: int) -> None:
    assert verb.same_text(repr(value), f"{value!r}")
    assert verb.same_text(str(10**20), "1e20")
    written = f"{value:.{digits}e}"
    assert verb.same_text(written, written.replace("e", "00E"))


def test_params_that_are_no_numbers_are_compared_as_text() -> None:
    assert verb.same_text("0.1", "1e-1")
    assert verb.same_text("nan", "NaN")
    assert not verb.same_text("True", "1")
    assert not verb.same_text("12345678901234567890", "12345678901234567891")
    assert not verb.same_text("adam", "Adam")
    assert not verb.same_text("1", None)
    assert not verb.same_text("", "0")


# Patches.


def write(folder: Path, code: dict[str, Any]) -> None:
    folder.mkdir()
    for name, file in code.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, str):
            path.symlink_to(file)
        else:
            path.write_bytes(file.data if isinstance(file, CodeFile) else file)
            path.chmod(0o755 if isinstance(file, CodeFile) else 0o644)


def content(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return the kind and the content of each file in a folder, without git's own."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.fsencode(os.readlink(path)))  # noqa: PTH115
        elif path.is_file() and not name.startswith(".git/"):
            kind = "program" if os.access(path, os.X_OK) else "file"
            found[name] = (kind, path.read_bytes())
    return found


def patched(root: Path, one: str, other: str) -> bytes:
    command = [sys.executable, "-m", "runback", "diff", one, other, "--patch"]
    done = subprocess.run(command, cwd=root, env=plain_environ(), capture_output=True, check=True)
    return done.stdout


@pytest.mark.parametrize("way", [("aaaa", "bbbb"), ("bbbb", "aaaa")])
@pytest.mark.parametrize("program", [["patch", "-p1", "-s"], ["git", "apply"]])
def test_patch_is_accepted(
    root: Path, tmp_path: Path, way: tuple[str, str], program: list[str]
) -> None:
    sides: dict[str, dict[str, Any]] = {"aaaa": dict(BEFORE), "bbbb": dict(AFTER)}
    write(tmp_path / "before", sides[way[0]])
    write(tmp_path / "after", sides[way[1]])
    text = patched(root, *way)
    assert b"Binary files a/blob.bin and b/blob.bin differ\n" in text
    subprocess.run(program, cwd=tmp_path / "before", input=text, check=True)
    (tmp_path / "before/blob.bin").write_bytes((tmp_path / "after/blob.bin").read_bytes())
    assert content(tmp_path / "before") == content(tmp_path / "after")


def test_patch_of_a_file_in_the_words_of_git(root: Path) -> None:
    assert (
        b"diff --git a/train.py b/train.py\nindex 1f288c072de1a2e036b2f8563eee52587e92fc97"
        b"..03d5c0e0c9cbac84f186bee7f0f75b59d948f2da 100644\n"
        b"--- a/train.py\n+++ b/train.py\n"
        b"@@ -1,3 +1,3 @@\n import mlflow\n-rate = 0.1\n+rate = 0.2\n print(rate)\n"
    ) in patched(root, "aaaa", "bbbb")


def test_patch_is_coloured_and_tame_on_a_terminal_alone(root: Path) -> None:
    assert b"\x1b" not in patched(root, "aaaa", "bbbb")
    screen = on_terminal("diff", "aaaa", "bbbb", "--patch", cwd=root, columns=40)
    assert "\x1b[32m+rate = 0.2" in screen.raw
    assert "+rate = 0.2\n" in screen.text
    plain = on_terminal("diff", "aaaa", "bbbb", "--patch", cwd=root, environ={"NO_COLOR": "1"})
    assert "\x1b[32m" not in plain.raw


lines = st.lists(st.binary(max_size=4).map(lambda line: line.replace(b"\0", b"")), max_size=3)


@given(lines, lines)
def test_hunks_turn_any_text_into_any_other(old: list[bytes], new: list[bytes]) -> None:
    """The texts are short enough that one hunk holds all of their lines."""
    before, after = b"\n".join(old), b"\n".join(new)
    found = list(patch.hunks(patch.lines_of(before), patch.lines_of(after)))
    if before == after:
        assert found == []
        return
    kept = [line for line in found if not line.startswith(b"@@")]
    assert apply(kept, patch.lines_of(before)) == patch.lines_of(after)


def apply(hunks: list[bytes], before: list[bytes]) -> list[bytes]:
    """Apply a hunk that holds every line."""
    assert [line[1:] for line in hunks if line[:1] in b" -"] == before
    return [line[1:] for line in hunks if line[:1] in b" +"]


def test_long_files_are_replaced_whole(tmp_path: Path, template: Path) -> None:
    root = make_store(tmp_path / "store", template)
    old, new = (
        b"".join(b"%d\n" % n for n in range(9000)),
        b"".join(b"%d\n" % n for n in range(7, 9000)),
    )
    make_run(root, "a", {}, 1.0, code={"long.csv": old})
    make_run(root, "b", {}, 1.0, code={"long.csv": new})
    run_index(root)
    write(tmp_path / "before", {"long.csv": old})
    text = patched(root, "aaaa", "bbbb")
    subprocess.run(["git", "apply"], cwd=tmp_path / "before", input=text, check=True)
    assert (tmp_path / "before/long.csv").read_bytes() == new


def test_executable_bit_alone_is_a_difference(tmp_path: Path, template: Path) -> None:
    root = make_store(tmp_path / "store", template)
    make_run(root, "a", {}, 1.0, code={"run.sh": b"x"}, **about())
    make_run(root, "b", {}, 1.0, code={"run.sh": CodeFile(b"x", executable=True)}, **about())
    make_run(root, "c", {}, 1.0, code={"run.sh": "target"}, **about())
    make_run(root, "d", {}, 1.0, code={"run.sh": b"target"}, **about())
    run_index(root)
    assert out(root, "aaaa", "bbbb", "--exit-code", status=1).startswith(
        "code\t(links and executable bits)\tsha256:"
    )
    head = b"diff --git a/run.sh b/run.sh\n"
    assert patched(root, "aaaa", "bbbb") == head + b"old mode 100644\nnew mode 100755\n"
    text = patched(root, "cccc", "dddd")
    assert text.count(head) == 2, "a link with the same digest as a file is no file"
    write(tmp_path / "before", {"run.sh": "target"})
    subprocess.run(["git", "apply"], cwd=tmp_path / "before", input=text, check=True)
    assert content(tmp_path / "before") == {"run.sh": ("file", b"target")}


def test_patch_of_a_damaged_archive_is_refused(tmp_path: Path, template: Path) -> None:
    root = make_store(tmp_path / "store", template)
    record = make_run(root, "a", {}, 1.0, code=BEFORE)
    make_run(root, "b", {}, 1.0, code=AFTER)
    run_index(root)
    known = manifest.read(record, run_of(record))
    known["code"]["files"]["train.py"] = DIGEST
    files.write_json(record / files.MANIFEST, known)
    done = call(root, "diff", "aaaa", "bbbb", "--patch")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"is damaged: train.py\n  recorded {DIGEST}\n  found    sha256:69f9" in done.stderr


# Manifests that came from anywhere.

nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["files", "argv", "digest", "os", "x"]), inner, max_size=3
        )
    ),
)


@given(nonsense, st.sampled_from(facts.PARTS))
def test_any_shape_is_values_or_a_gap(found: Any, part: facts.Part) -> None:
    known: Any = found
    for name in reversed(part.path):
        known = {name: known}
    values = facts.of_manifest(known)
    assert (part in values.values) != (part in values.gaps)
    assert all(isinstance(v, str | int | float) for v in values.values.get(part, {}).values())


def test_nonsense_is_a_gap_and_no_crash(tmp_path: Path, template: Path) -> None:
    root = make_store(tmp_path / "store", template)
    make_run(root, "a", {}, 1.0, code=BEFORE, **about())
    make_run(root, "b", {}, 1.0, code=BEFORE, **about(machine=3, command=["x"], data=None))
    deep = make_run(root, "c", {}, 1.0, code=BEFORE, **about())
    text = (deep / files.MANIFEST).read_text()
    nested = '{"x":' * 300 + "1" + "}" * 300
    (deep / files.MANIFEST).write_text(text.replace('"linux-x86_64"', nested))
    run_index(root)
    text = out(root, "aaaa", "bbbb", "--exit-code", status=1)
    assert "machine\t(not compared)\t\tits manifest has nonsense there: 3\n" in text
    assert "command\t(not compared)\t\tits manifest has nonsense there: ['x']\n" in text
    assert "data\t(not compared)\t\tnot in its record\n" in text
    text = out(root, "aaaa", "cccc", "--exit-code", status=1)
    assert text == "environment\t(not compared)\t\tits manifest has nonsense there: too deep\n"


# What capture writes.

TRAINS = """
import sys, mlflow, pandas as pd
with mlflow.start_run(run_name=sys.argv[1]):
    mlflow.log_param("lr", sys.argv[2])
    data = mlflow.data.from_pandas(pd.DataFrame({"x": [1.5]}), name="d", targets=None)
    mlflow.log_input(data, context="training")
"""


def test_runs_that_capture_recorded(tmp_path: Path, template: Path) -> None:
    store = training.make(tmp_path / "store", template)
    (store.root / "train.py").write_text("first = 1\n")
    assert store.train(TRAINS, "one", "0.1").returncode == 0
    (store.root / "train.py").write_text("second = 1\n")
    done = store.train(TRAINS, "two", "0.2", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    store.index()
    found = json.loads(store.runback("diff", "one", "two", "--json").stdout)
    rows = {
        name: [row["name"] for row in section["rows"]]
        for name, section in found["sections"].items()
    }
    assert rows["params"] == ["lr"]
    assert rows["code"] == ["train.py"]
    assert rows["machine"] == ["threads.OMP_NUM_THREADS"]
    assert rows["environment"] == rows["data"] == []
    assert not any(section["not_compared"] for section in found["sections"].values())
    everything = store.runback("diff", "one", "two", "--all").stdout
    assert "data\tdataset d\t" in everything
    assert "environment\tpackage mlflow\t3." in everything
    text = store.runback("diff", "one", "two", "--patch").stdout
    assert text.endswith("@@ -1 +1 @@\n-first = 1\n+second = 1\n")
