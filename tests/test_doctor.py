"""Each trap is set with the real dvc, and then named by `runback doctor`; nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import dvcs
import pytest
from dvcs import DvcProject
from records import query

from runback.doctor import params, settings
from runback.doctor.doctor import findings

NOTHING = "nothing found\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """Return a project with a baseline and an experiment, `plain`."""
    made = dvcs.make(tmp_path_factory.mktemp("doctor"))
    made.dvc("repro", "--quiet")
    made.commit("baseline")
    made.dvc("exp", "run", "--quiet", "-n", "plain", "-S", "train.rate=0.1")
    made.git("checkout", "--quiet", ".")
    return made


def run_of(project: DvcProject, name: str) -> tuple[str, str]:
    """Return the short id and the name of an experiment's run."""
    run_id = project.runback("ls", "-q", name).strip()
    ((run_name,),) = query(
        project.root / "mlflow.db", "SELECT name FROM runs WHERE run_uuid = ?", run_id
    )
    return run_id[:8], run_name


def hint(said: str) -> str:
    """Return the hint of the only finding."""
    (line,) = [line for line in said.splitlines() if line.startswith("  hint: ")]
    return line.removeprefix("  hint: ")


def follow(project: DvcProject, said: str) -> None:
    project.run("sh", "-ec", hint(said))


def test_a_clean_project(project: DvcProject) -> None:
    assert project.runback("doctor") == NOTHING
    assert project.runback("doctor", "-q") == ""
    assert project.runback("doctor", "--json") == "[]\n"
    elsewhere = project.run("sh", "-c", "cd / && exec python -m runback doctor --store $0", ".")
    assert elsewhere == NOTHING


def test_the_run_cache(project: DvcProject) -> None:
    """The same inputs again, and nothing changed at all: dvc trains neither, and exits with 0."""
    before = query(project.root / "mlflow.db", "SELECT count(*) FROM runs")
    project.dvc("exp", "run", "--quiet", "-n", "again", "-S", "train.rate=0.1")
    project.git("checkout", "--quiet", ".")
    project.dvc("exp", "run", "--quiet", "-n", "same")
    assert query(project.root / "mlflow.db", "SELECT count(*) FROM runs") == before
    plain, name = run_of(project, "plain")
    first, first_name = run_of(project, "same")
    said = project.runback("doctor", status=1)
    assert said == (
        f"run cache: experiment again: no training was made for it; its result is that of"
        f" run {plain} {name} (of experiment plain), which had the same inputs\n"
        f"  hint: dvc exp run --force -n again   # trains; runback replay {plain} tells whether it"
        " would come out the same\n"
        f"run cache: experiment same: no training was made for it; its result is that of"
        f" run {first} {first_name} (of no experiment), which had the same inputs\n"
        f"  hint: dvc exp run --force -n same   # trains; runback replay {first} tells whether it"
        " would come out the same\n"
    )
    assert project.runback("doctor", "-q", status=1) == ""
    found = json.loads(project.runback("doctor", "--json", status=1))
    assert [(f["about"], sorted(f)) for f in found] == [
        ("run cache", ["about", "hint", "text"])
    ] * 2
    assert f"{found[0]['about']}: {found[0]['text']}\n  hint: {found[0]['hint']}\n" in said


def test_a_renamed_experiment_was_trained(project: DvcProject) -> None:
    project.dvc("exp", "rename", "plain", "renamed")
    project.dvc("exp", "remove", "--quiet", "same")
    said = project.runback("doctor", status=1)
    assert said.startswith("run cache: experiment again: ")
    assert "(of experiment renamed), which had" in said
    assert said.count("\n") == 2
    project.dvc("exp", "remove", "--quiet", "again")
    assert project.runback("doctor") == NOTHING


def started(project: DvcProject, name: str, *words: str) -> subprocess.Popen[bytes]:
    """Start an experiment; return when its training has begun, and holds."""
    before = steps_done(project)
    (project.root.parent / "hold").touch()
    process = subprocess.Popen(
        ["dvc", "exp", "run", "--quiet", "-n", name, *words],
        cwd=project.root,
        env={**project.environ, "HOLD": str(project.root.parent / "hold")},
        start_new_session=True,
    )
    while steps_done(project) == before:
        assert process.poll() is None
        time.sleep(0.1)
    return process


def steps_done(project: DvcProject) -> int:
    """Return how many trainings have made their last step."""
    ((count,),) = query(
        project.root / "mlflow.db", "SELECT count(*) FROM latest_metrics WHERE step = 19"
    )
    return int(count)


def go_on(project: DvcProject) -> None:
    (project.root.parent / "hold").unlink()


def test_edited_while_it_trained(project: DvcProject) -> None:
    """dvc's commit says 0.77 and the later code; the record has what ran, helper and all."""
    code = (project.root / "train.py").read_text()
    project.write("helper.py", "STEP = 1\n")
    project.write("scratch.py", "nobody = 'imports this'\n")
    project.write("train.py", f"import helper\n{code}")
    project.write("README", "at the start")
    project.git("add", "README")
    process = started(project, "edited", "-S", "train.rate=0.3")
    project.write("train.py", f"import helper\n{code}# an afterthought\n")
    project.write("params.yaml", "train:\n  rate: 0.77\n")
    project.write("README", "edited too, which nothing hangs on")
    go_on(project)
    assert process.wait(120) == 0
    rev = project.git("for-each-ref", "--format=%(objectname)", "refs/exps/*/*/edited").strip()
    assert "0.77" in project.git("show", f"{rev}:params.yaml")
    run, _ = run_of(project, "edited")
    said = project.runback("doctor", status=1)
    assert said == (
        "edited: experiment edited: its commit has another params.yaml, train.py than the one"
        f" that trained; what is recorded of run {run} is the true one\n"
        f"  hint: runback checkout {run}   # the code and params as they ran\n"
        f"untracked: experiment edited: its commit lacks helper.py, which git did not track;"
        f" run {run} has it\n"
        "  hint: git add helper.py   # before the next dvc exp run\n"
    )
    project.runback("checkout", run)
    (folder,) = (project.root / "checkouts").glob("*/train.py")
    assert "afterthought" not in folder.read_text()
    assert "0.3" in (folder.parent / "params.yaml").read_text()
    assert (folder.parent / "helper.py").exists()
    shutil.rmtree(project.root / "checkouts")
    for name in ("helper.py", "scratch.py"):
        (project.root / name).unlink()
    project.git("reset", "--quiet", "--hard")
    project.dvc("exp", "remove", "--quiet", "edited")
    assert project.runback("doctor") == NOTHING


def test_killed(project: DvcProject) -> None:
    process = started(project, "killed", "-S", "train.rate=0.4")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    go_on(project)
    said = project.runback("doctor", status=1)
    assert said == (
        "HEAD: HEAD is detached: a dvc exp run goes on, or one was killed; commits would be on"
        " no branch\n  hint: git switch main   # if none goes on\n"
    )
    follow(project, said)
    assert project.runback("doctor") == NOTHING
    assert project.git("symbolic-ref", "HEAD") == "refs/heads/main\n"
    project.git("checkout", "--quiet", ".")
    project.git("checkout", "--quiet", "HEAD~1")  # by hand: what dvc left is still there
    assert "EXEC_BASELINE" in project.git("for-each-ref", "refs/exps/exec")
    assert project.runback("doctor") == NOTHING
    project.git("checkout", "--quiet", "main")


def test_a_remote_that_was_added_later(project: DvcProject) -> None:
    """`dvc exp push` uploads nothing, and exits with 0; after the hint it does."""
    project.git("init", "--quiet", "--bare", "../origin.git")
    project.git("remote", "add", "origin", "../origin.git")
    start = "remote: experiment renamed: dvc exp push would upload no data, and exit with 0"
    assert project.runback("doctor", status=1) == (
        f"{start} (no remote is set)\n"
        "  hint: dvc remote add --local --default --force storage /PATH/TO/STORAGE\n"
    )
    storage = project.root.parent / "my storage, here"
    project.dvc("remote", "add", "first", str(storage))
    project.dvc("remote", "modify", "first", "verify", "true")
    project.commit("a remote")
    added = (
        f"  hint: dvc remote modify --local first url '{storage}' &&"
        " dvc remote modify --local first verify true && dvc remote default --local first\n"
    )
    said = project.runback("doctor", status=1)
    assert said == f"{start} (no default remote is set)\n{added}"
    project.dvc("remote", "default", "first")
    project.commit("a default")
    said = project.runback("doctor", status=1)
    assert said == f"{start} (the remote was added after them)\n{added}"
    assert "uploaded" not in project.dvc("exp", "push", "origin", "renamed")
    assert not storage.exists()
    follow(project, said)
    assert project.runback("doctor") == NOTHING
    assert "2 files uploaded" in project.dvc("exp", "push", "origin", "renamed")
    assert storage.exists()


def test_a_remote_of_the_users_own_config(project: DvcProject) -> None:
    """It serves all experiments, as the copy's does."""
    storage = project.root.parent / "my storage, here"
    shutil.rmtree(storage)
    (project.root / settings.COPY).unlink()
    project.dvc("remote", "add", "--global", "--default", "home", str(storage))
    assert Path(project.environ["HOME"], ".config", "dvc", "config").exists()
    assert project.runback("doctor") == NOTHING
    shutil.rmtree(project.root / ".dvc" / "tmp")
    assert "2 files uploaded" in project.dvc("exp", "push", "origin", "renamed")
    Path(project.environ["HOME"], ".config", "dvc", "config").unlink()
    assert "added after" in project.runback("doctor", status=1)


def test_a_relative_remote(project: DvcProject) -> None:
    """dvc exp push takes it from the top of the repository, which is / to it.

    A run that was saved by `dvc exp save` is no run-cache hit.
    """
    home = project.root.parent
    url = f"../..{home}/storage"
    project.dvc("exp", "remove", "--quiet", "renamed")
    project.write(
        ".dvc/config", f"[core]\n    remote = near\n['remote \"near\"']\n    url = {url}\n"
    )
    project.commit("a relative remote")
    project.run("python", "train.py")
    project.dvc("exp", "save", "--quiet", "-n", "saved")
    said = project.runback("doctor", status=1)
    assert said == (
        f"remote: near is the relative path {url} (.dvc/config): dvc push sends to"
        f" {home}{home}/storage, dvc exp push to {home}/storage\n"
        f"  hint: dvc remote modify --local near url {home}{home}/storage\n"
    )
    project.dvc("exp", "push", "origin", "saved")
    assert (home / "storage").exists()
    assert not Path(f"{home}{home}/storage").exists()
    project.dvc("push", "--quiet")
    assert Path(f"{home}{home}/storage").exists()
    shutil.rmtree(home / "storage")
    follow(project, said)
    assert project.runback("doctor") == NOTHING
    project.dvc("exp", "push", "origin", "saved")
    assert not (home / "storage").exists()


def test_another_machine(project: DvcProject) -> None:
    """Its experiments came by `dvc exp pull`, their runs did not; nor did a store, at first."""
    other = DvcProject(project.root.parent / "other", project.environ)
    project.git("clone", "--quiet", str(project.root), str(other.root))
    other.dvc("exp", "pull", "--quiet", "--no-cache", "origin", "saved")
    other.dvc("remote", "modify", "--local", "near", "url", "/nowhere")
    assert other.git("for-each-ref", "refs/exps/*/*/saved")
    assert other.runback("doctor") == NOTHING
    assert not (other.root / "mlflow.db").exists()
    other.runback("index")
    assert other.runback("doctor") == NOTHING


def test_several_projects_in_one_repository(project: DvcProject, tmp_path: Path) -> None:
    """Each has its own experiments; paths in the repository are not paths in a project."""
    top = DvcProject(tmp_path, project.environ)
    top.git("init", "--quiet", "--initial-branch=main")
    own = DvcProject(tmp_path / "one", project.environ)
    own.root.mkdir()
    own.dvc("init", "--quiet", "--subdir")
    own.dvc("config", "core.autostage", "true")
    stages = dvcs.STAGES.replace("[train.py, data]", "[train.py, ../shared, data.txt]")
    for name, text in (
        *(("train.py", dvcs.TRAIN.replace("data/numbers", "data")), ("dvc.yaml", stages)),
        *(("params.yaml", "train:\n  rate: 0.5\n"), ("data.txt", "1\n2\n")),
        *((".gitignore", dvcs.IGNORED), ("../shared/lib.py", "x = 1\n"), ("../two/a.py", "")),
    ):
        own.write(name, text)
    top.commit("start")
    own.dvc("exp", "run", "--quiet", "-n", "inner", "-S", "train.rate=0.1")
    assert own.runback("doctor") == NOTHING
    assert own.runback("show", "inner")
    top.commit("keep the experiment")
    baseline = top.git("rev-parse", "HEAD").strip()
    top.write("two/a.py", "changed = True\n")
    top.commit("as an experiment of another project")
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/outer"
    top.git("update-ref", ref, "HEAD")
    top.git("reset", "--quiet", "--hard", baseline)
    assert own.runback("doctor") == NOTHING
    own.runback("show", "outer", status=3)
    relative = "core:\n['remote \"a\"']\nurl = ../../s\n"
    own.write(".dvc/config", relative.replace("core:", "[core]"))
    said = own.runback("doctor", status=1)
    assert f"dvc push sends to {tmp_path}/s, dvc exp push to /s\n" in said


VALUES = """\
a: 1e-3
train: {rate: 1e-3, quoted: "1e-3", point: 1.0e-3, text: abc, int: 5}
block: >-
  1e-3
grid: [1e-3, [2E5], {x: -.5e+1}]
loop: &again [*again, 1.5e3]
twice: *again
"""


def test_numbers_that_are_texts_to_pyyaml(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(VALUES)
    (tmp_path / "other.yml").write_text("x: 1e16\n? [1, 2]\n: 1e-9\n")
    (tmp_path / "more.json").write_text('{"x": 1e-3}')
    (tmp_path / "dvc.yaml").write_text(
        "stages: {s: {cmd: x, params: [train.rate, {other.yml: , more.json: , gone.yaml: }]}}"
    )
    found = list(params.texts(tmp_path))
    assert [finding.text.partition(" to DVC")[0] for finding in found] == [
        "other.yml: x is the number 1e+16",
        "other.yml: ? is the number 1e-09",
        "params.yaml: a is the number 0.001",
        "params.yaml: train.rate is the number 0.001",
        "params.yaml: grid.0 is the number 0.001",
        "params.yaml: grid.1.0 is the number 200000.0",
        "params.yaml: grid.2.x is the number -5.0",
        "params.yaml: loop.1 is the number 1500.0",
    ]
    assert {finding.about for finding in found} == {"params"}
    assert found[0].hint == "write 1.0e+16 in its place"
    assert found[2].text == (
        "params.yaml: a is the number 0.001 to DVC, and the text '1e-3' to a script that reads it"
        " with PyYAML"
    )


def test_dvc_reads_the_number(project: DvcProject) -> None:
    """What the finding says of both: dvc writes 0.001 to its lock, PyYAML reads a text."""
    project.write("params.yaml", "train:\n  rate: 1e-3\n")
    said = project.runback("doctor", status=1)
    assert said.startswith("params: params.yaml: train.rate is the number 0.001 to DVC, and")
    assert hint(said) == "write 0.001 in its place"
    assert "0.001" in project.dvc("params", "diff")
    code = "import yaml; print(repr(yaml.safe_load(open('params.yaml'))['train']['rate']))"
    assert project.run("python", "-c", code) == "'1e-3'\n"
    project.git("checkout", "--quiet", "params.yaml")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dvc.yaml", b"stages: ["),
        ("dvc.yaml", b"\xff\xfe"),
        (".dvc/config", b"[core\nremote = x"),
        (".dvc/config", b"\xff\x00 = [['remote"),
        (".dvc/config.local", b"no section"),
        ("params.yaml", b"train: [\xff"),
        ("params.yaml", b"[" * 3000),
        ("outputs/metrics.json", b"{"),
        ("data.dvc", b"]"),
    ],
)
def test_damaged_files(project: DvcProject, name: str, content: bytes) -> None:
    """What is wrong with them, dvc says itself; nothing ends in a traceback."""
    path = project.root / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        list(findings(project.root))
    finally:
        path.unlink() if before is None else path.write_bytes(before)


def test_without_dvc_or_git(tmp_path: Path) -> None:
    assert list(findings(tmp_path)) == []
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    assert list(findings(tmp_path)) == []


def test_a_damaged_store(project: DvcProject) -> None:
    path = project.root / "mlflow.db"
    before = path.read_bytes()
    path.write_bytes(b"no database")
    done = project.run("sh", "-c", "python -m runback doctor 2>&1", status=3)
    path.write_bytes(before)
    assert done.startswith("error: ")
    assert "Traceback" not in done


CONFIG = """\
[core]
    remote = "two, three"
    analytics = false
['remote "one"']
    url = s3://bucket/%(path)s
    access_key_id = a
['remote "two, three"']
    url = "/a, b"   # a comment
"""


def test_settings_of_dvc() -> None:
    found = settings.parsed(CONFIG)
    assert found.default == "two, three"
    assert found.url == "/a, b"
    assert found.remotes["one"] == {"url": "s3://bucket/%(path)s", "access_key_id": "a"}
    other = settings.parsed("[core]\nremote = one\n['remote \"one\"']\nurl = /other\n")
    assert found.under(other).url == "/other"
    assert found.under(other).remotes["one"]["access_key_id"] == "a"
    assert other.under(found).url == "/a, b"
    assert settings.parsed("[core]\nremote = gone\n").url == ""


@pytest.mark.parametrize(
    "url", ["s3://bucket/x", "ssh://host/x", "remote://one/x", "/absolute", "~/x", "gdrive://1"]
)
def test_addresses_that_are_not_relative(tmp_path: Path, url: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / settings.PROJECT).write_text(f"['remote \"one\"']\nurl = {url}\n")
    assert list(findings(tmp_path)) == []
