"""What is read of DVC's files: stages, notes of data sets, and what is in its commits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import dvcs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runback import git
from runback.dvc import datasets, experiments, stages, texts
from runback.dvc.datasets import Noted

FORMS = b"""\
vars: [{size: 3}]
stages:
  prepare:
    desc: Every form that a path has
    frozen: true
    cmd: [echo one, "echo ${size}"]
    deps: [./raw/, 2024_01, on, 1e3]
    outs:
    - prepared/
    - state.bin: {persist: true, cache: false}
    - &again kept.csv: {persist: True}
    - dropped.csv: {persist: false, desc: "it is text: persist"}
  train:
    cmd: python train.py
    wdir: .
    deps: [train.py, prepared/clean.csv, raw]
    params: [train.rate, train.epochs, other.yaml: [a], more.json:, {conf/x.toml: }]
    outs: [model.keras, *again]
    metrics: [m/one.json: {cache: false}, ./m/two.json]
    plots: [curve.csv: {x: step, y: loss}, picture.png]
  each:
    foreach: [1, 2]
    do: {cmd: "echo ${item}", outs: ["x${item}"]}
  grid:
    matrix: {a: [1, 2]}
    cmd: echo
    outs: ["y${item.a}"]
  elsewhere: {wdir: sub, cmd: echo, outs: [z]}
metrics: [top.json, m/one.json]
plots: [loss: {y: {curve.csv: loss}}]
artifacts: {net: {path: model.keras, type: model}}
"""
# Each of any type in the place of any other.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=8),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("stages", "deps", "outs", "metrics", "plots", "params", "wdir", "persist"),
                    "x",
                    "<<",
                ]
            ),
            parts,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BROKEN = (
    b"",
    b"\xff\xfe\x00",
    b"stages: [",
    b"stages: &a {x: *a}",
    b"stages: {s: {outs: [&a [*a]]}}",
    b"<<: &a [*a]",
    b"stages: {s: {deps: ['\\0', !!int '', !!float x, !!timestamp y]}}",
    b"stages: {s: {deps: [2020-99-99, 0x_, !!binary =]}}",
    b"? [a, b]\n: 1",
    b"[" * 5000,
    b"--- 1\n--- 2\n",
    b"stages: {s: {params: {a: 1}, metrics: text, outs: {a: 1}}}",
)


def test_every_form_of_a_path() -> None:
    found = stages.parsed(FORMS)
    assert found.deps == {
        *("raw", "2024_01", "on", "1e3", "train.py", "prepared/clean.csv"),
    }
    assert found.made.keys() == {
        *("prepared", "state.bin", "kept.csv", "dropped.csv", "model.keras"),
        *("m/one.json", "m/two.json", "curve.csv", "picture.png", "sub/z"),
    }
    assert found.kept == {"state.bin", "kept.csv"}
    assert found.metrics == ["m/one.json", "m/two.json", "top.json", "m/one.json"]
    assert found.params == {"params.yaml", "other.yaml", "more.json", "conf/x.toml"}


def test_results_are_what_a_stage_makes_anew() -> None:
    """DVC removes them before it begins; what it goes on from, and others', are its input."""
    text = b"stages: {a: {outs: [in/x.csv, y.csv, z: {persist: true}]}, b: {metrics: [m.json]}}"
    found = stages.parsed(text)
    assert found.results("a") == {"in/x.csv", "y.csv"}
    assert found.results("b@0.5") == {"m.json"}
    assert found.results("c") == set()


def test_stages_of_a_matrix_and_of_another_folder() -> None:
    text = b"""\
stages:
  m: {matrix: {rate: [1, 2]}, deps: [data, "${item.rate}.txt"], outs: ["out/${item.rate}"]}
  f: {foreach: [1, 2], do: {deps: [more], metrics: [m.json]}}
  w: {wdir: sub, deps: [here, ../up], outs: [made]}
"""
    found = stages.parsed(text)
    assert found.deps == {"data", "more", "sub/here", "up"}
    assert found.made == {"m.json": "f", "sub/made": "w"}


def test_merged_mappings() -> None:
    text = b"""\
x: &x {deps: [a], outs: [b]}
y: &y {deps: [c], metrics: [d.json]}
stages: {one: {<<: [*x, *y], outs: [e]}, two: {<<: *y}}
"""
    found = stages.parsed(text)
    assert (found.deps, set(found.made)) == ({"a", "c"}, {"d.json", "e"})


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_dvc_yaml_has_no_stages(text: bytes) -> None:
    assert not stages.parsed(text).metrics


@given(ANYTHING)
def test_nonsense_does_not_raise(content: object) -> None:
    text = yaml.safe_dump(content).encode()
    found = stages.parsed(text)
    names = found.made.keys() | found.deps | found.params
    assert all(isinstance(name, str) for name in names)
    stages.parsed(json.dumps({"stages": {"s": content}}, default=str).encode())


@given(st.binary(max_size=60))
def test_any_bytes_do_not_raise(text: bytes) -> None:
    stages.parsed(text)


@given(
    st.recursive(
        st.text(st.characters(exclude_categories=["C", "Z"]), max_size=6),
        lambda parts: (
            st.lists(parts, max_size=3)
            | st.dictionaries(st.text("abc<> ", max_size=3), parts, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_texts_are_read_as_they_are(content: object) -> None:
    """All but `<<`, which merges: PyYAML quotes what it would take for something else."""
    if "<<" not in str(content):
        assert texts.parsed(yaml.safe_dump(content, allow_unicode=True).encode()) == content


NAMES = {
    "numbers 1e3.txt": "1\n2\n",
    "über/a b/c.txt": "übel",
    "über/empty": "",
    "über.txt": "sorts after the folder of its name, or not",
    'quo"te\\s.csv': "x",
    "日本/🦙.txt": "llama",
    "deep/er/and/deeper/x": "deep",
    "0/1": "digits",
}
# To YAML 1.1 or 1.2, these names are a date, numbers, a truth or nothing, where no quotes are.
ODD = ("2024_01", "1e3", "on", "null", "2020-01-01", "0o17", "a: b", "- x", "it's 🦙", "# no")


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> dvcs.DvcProject:
    """Return a project without git, with data sets that the real `dvc add` has noted."""
    folder = tmp_path_factory.mktemp("added")
    made = dvcs.DvcProject(folder / "project", dvcs.environ(folder))
    made.root.mkdir()
    made.dvc("init", "--quiet", "--no-scm")
    for name, text in NAMES.items():
        made.write(f"set of files/{name}", text)
    for number, name in enumerate(ODD):
        made.write(name, f"{number}\n")
    made.write("empty", "")
    made.dvc("add", "--quiet", "set of files", "empty", *(f"./{name}" for name in ODD))
    return made


def test_a_folders_digest_is_dvcs(added: dvcs.DvcProject) -> None:
    dataset = datasets.of(added.root / "set of files")
    assert dataset is not None
    size_bytes = sum(len(text.encode()) for text in NAMES.values())
    assert (dataset.noted.size_bytes, dataset.noted.files) == (size_bytes, len(NAMES))
    assert datasets.folder_digest({n: md5(t) for n, t in NAMES.items()}) == dataset.noted.digest


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_files_of_any_name_are_found(added: dvcs.DvcProject) -> None:
    for number, name in enumerate(ODD):
        dataset = datasets.of(added.root / name)
        assert dataset is not None, name
        assert dataset.noted == Noted("md5:" + md5(f"{number}\n"), 2, 1)
    empty = datasets.of(added.root / "empty")
    assert empty is not None
    assert empty.noted == Noted(f"md5:{md5('')}", 0, 1)


def test_dvc_reads_back_what_we_write(added: dvcs.DvcProject) -> None:
    for name in ("set of files", "empty", *ODD):
        dataset = datasets.of(added.root / name)
        assert dataset is not None
        dataset.file.write_text(dataset.noted.text(name))
        assert datasets.of(added.root / name) == dataset
    for path in ("set of files/über/empty", *ODD):
        (added.root / path).unlink()
    added.dvc("checkout", "--quiet")
    assert (added.root / "set of files/über/empty").read_text() == ""
    assert [(added.root / name).read_text() for name in ODD] == [f"{n}\n" for n in range(len(ODD))]
    assert added.dvc("status") == "Data and pipelines are up to date.\n"


def test_a_digest_that_looks_like_a_number_stays_one() -> None:
    digest = "md5:12345678901234567890123456789e12"
    text = Noted(digest, 1, 1).text("x")
    assert f'"{digest[4:]}"' in text


def test_data_sets_of_the_stages(added: dvcs.DvcProject) -> None:
    deps = ["2024_01", "set of files/über", "nowhere", "/", "..", "a\0b", "/etc/passwd"]
    added.write("dvc.yaml", json.dumps({"stages": {"s": {"cmd": "x", "deps": deps}}}))
    names = {path.name for path in datasets.used(added.root)}
    assert names == {"2024_01", "set of files"}


@pytest.mark.parametrize(
    "text",
    [
        "outs: []",
        "outs: [{md5: x, size: 1, hash: md5, path: data}]",
        "outs: [{md5: ../../../etc/passwd, size: 1, hash: md5, path: data}]",
        "outs: [{md5: 0123456789abcdef0123456789abcdef, size: -1, hash: md5, path: data}]",
        "outs: [{md5: 0123456789abcdef0123456789abcdef, size: 1, path: data}]",
        "outs: [{md5: 0123456789abcdef0123456789abcdef, size: 1, hash: md5, path: other}]",
        "outs: [{md5: [], size: {}, hash: md5, path: data}]",
        "outs: {md5: x}",
        "wdir: x",
        "- 1",
        "\0",
    ],
)
def test_what_is_no_note_of_dvc_3(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.dvc").write_text(text)
    assert datasets.of(tmp_path / "data") is None


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a folder `in`, a submodule, and names that need care."""
    root = tmp_path_factory.mktemp("repository")

    def ask(*words: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        subprocess.run(command, cwd=root, check=True, capture_output=True)

    ask("init", "--quiet", "--initial-branch=main")
    for name, content in FILES.items():
        path = root / "in" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    ask("add", "--all")
    ask("commit", "--quiet", "--message", "start")
    head = git.ask(root, "rev-parse", "HEAD")
    assert head is not None
    entry = f"160000,{head.decode().strip()},in/module"
    ask("update-index", "--add", "--cacheinfo", entry)
    elsewhere = f"160000,{'1' * 40},in/absent module"
    ask("update-index", "--add", "--cacheinfo", elsewhere)
    ask("commit", "--quiet", "--message", "modules")
    return root / "in"


FILES = {
    b"a b.txt": b"spaces",
    b"blob 12": b"looks like a header",
    b"x missing": b"is here",
    "ü/日本.txt".encode(): b"utf-8",
    b"\xff.txt": b"no utf-8",
    b"empty": b"",
    b"binary": bytes(range(256)) * 40 + b"\n0123 blob 4\n",
    b"last": b"no line end",
}


def test_contents_of_a_commit(repository: Path) -> None:
    names = {os.fsdecode(name): content for name, content in FILES.items()}
    others = (
        "nowhere",
        "x blob 3",
        "ü",
        "module",
        "absent module",
        "a\nb",
        "last\0x",
        "\ud800",
        "",
    )
    asked = [name for pair in zip(names, [*others], strict=False) for name in pair]
    found = git.contents(repository, [f"HEAD:./{name}" for name in asked])
    assert found == {f"HEAD:./{name}": content for name, content in names.items()}
    assert git.contents(repository, ["HEAD~9:./last", "nothing", "HEAD:./last"]) == {
        "HEAD:./last": b"no line end"
    }


def test_contents_where_there_is_no_repository(tmp_path: Path) -> None:
    assert git.contents(tmp_path, ["HEAD:./x"]) == {}
    assert git.contents(tmp_path / "nowhere", ["HEAD:./x"]) == {}
    assert git.contents(tmp_path, []) == {}


@pytest.mark.parametrize(
    ("metrics", "run_id"),
    [
        (b'{"run_id": "%s"}' % (b"a" * 32), "a" * 32),
        (b'{"x": 1, "deep": {"mlflow_run_id": "%s"}}' % (b"b" * 32), "b" * 32),
        (b'{"run_id": "%s"}' % (b"A" * 32), ""),
        (b'{"run_id": 5, "x": ["%s"]}' % (b"a" * 32), ""),
        (b"[1]", ""),
        (b"{", ""),
        (b"[" * 100_000, ""),
        (b'{"a":' * 900 + b"1" + b"}" * 900, ""),
        (b"\xff", ""),
    ],
)
def test_run_that_metrics_name(tmp_path: Path, metrics: bytes, run_id: str) -> None:
    """Of an experiment made by git alone: dvc writes no other refs."""

    def ask(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    (tmp_path / "dvc.yaml").write_text("metrics: [m.json]")
    (tmp_path / "m.json").write_bytes(metrics)
    ask("git", "init", "--quiet")
    ask("git", "add", "--all")
    tree = ask("git", "write-tree")
    base = ask("git", *NAMED, "commit-tree", "-m", "base", tree)
    rev = ask("git", *NAMED, "commit-tree", "-m", "experiment", "-p", base, tree)
    ask("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/a.b=c", rev)
    ask("git", "update-ref", "refs/exps/exec/EXEC_HEAD", base)
    found = experiments.Experiment("a.b=c", rev, base, run_id)
    assert experiments.experiments(tmp_path) == [found]
    assert experiments.experiments(tmp_path, rev[:7]) == [found]
    assert experiments.experiments(tmp_path, rev[:3]) == []


def test_git_is_asked_only_where_there_can_be_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*words: str) -> str:
        command = ["git", *NAMED, *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "inner" / ".dvc").mkdir(parents=True)
    (tmp_path / "inner" / ".dvc" / "config").touch()
    ask("init", "--quiet")
    ask("add", "inner")
    ask("commit", "--quiet", "--message", "base")
    ask("pack-refs", "--all")
    with monkeypatch.context() as patch:
        patch.setattr(git, "ask", None)
        assert experiments.experiments(tmp_path / "inner", "a") == []
    head = ask("rev-parse", "HEAD")
    ask("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/a", head)
    expected = [experiments.Experiment("a", head, head, "")]
    assert experiments.experiments(tmp_path / "inner", "a") == expected
    ask("pack-refs", "--all")
    assert not list((tmp_path / ".git" / "refs" / "exps").glob("??/*/*"))
    assert experiments.experiments(tmp_path / "inner", "a") == expected
    ask("worktree", "add", "--quiet", "beside")
    assert experiments.experiments(tmp_path / "beside" / "inner", "a") == expected


NAMED = ("-c", "user.name=a", "-c", "user.email=a@b.c")
