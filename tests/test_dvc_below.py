"""DVC below the top of a repository: a project in a subfolder, whose dvc.yaml is in one of that."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dvcs
import pytest
from dvcs import DvcProject
from records import query

from runback.dvc import datasets, experiments, stages
from runback.launch import inside
from runback.replay import attempt

EXPERIMENTS = ("plain", "copied")
DATA = "area/model/data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """Return the folder of the stage, with an experiment made in it, and one in a copy."""
    made = dvcs.make(tmp_path_factory.mktemp("dvc below"), "area", "area/model")
    made.write("outputs/metrics.json", "{}")
    made.commit("with a result")
    made.dvc("exp", "run", "--quiet", "-n", "plain", "-S", "train.rate=0.1")
    made.git("checkout", "--quiet", ".")
    words = ("exp", "run", "--quiet", "--temp", "-n", "copied", "-S", "train.rate=0.9")
    made.dvc(*words, RUNBACK_DATA=f"{DATA}/numbers.txt")
    return made


@pytest.fixture
def without_data(model: DvcProject) -> Iterator[DvcProject]:
    """Return it without its data, which is back when the test is done."""
    (model.root / "data").rename(model.root / "away")
    yield model
    (model.root / "away").rename(model.root / "data")


def top(model: DvcProject) -> Path:
    return model.root.parents[1]


def run_id(model: DvcProject, name: str) -> str:
    return model.runback("ls", "-q", name).strip()


def manifest(model: DvcProject, name: str) -> dict[str, Any]:
    (path,) = model.root.glob(f"mlruns/*/{run_id(model, name)}/artifacts/runback/manifest.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def revision(model: DvcProject, name: str) -> str:
    words = ("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}")
    return model.git(*words).strip()


def test_experiments_and_runs_are_tied(model: DvcProject) -> None:
    """In the store of the stage's folder, also from a copy of the repository."""
    assert [path.parent for path in top(model).rglob("mlflow.db")] == [model.root]
    assert ", 2 tied to the DVC experiment that made them\n" in model.runback("index")
    sql = "SELECT tags.value FROM tags JOIN runs USING (run_uuid) WHERE runs.name = ? AND key = ?"
    for name in EXPERIMENTS:
        found = query(model.root / "mlflow.db", sql, name, "dvc.exp_rev")
        assert found == [(revision(model, name),)]
    model.dvc("exp", "rename", "plain", "renamed")
    assert run_id(model, "renamed") == run_id(model, "plain")  # its metrics name the run
    assert model.runback("doctor") == "nothing found\n"
    model.dvc("exp", "rename", "renamed", "plain")


def test_doctor_looks_where_dvc_was_set_up(model: DvcProject) -> None:
    config = model.root.parent / ".dvc" / "config"
    before = config.read_text()
    model.dvc("remote", "add", "near", "../../storage")
    said = model.runback("doctor", status=1)
    config.write_text(before)
    assert f"dvc push sends to {top(model)}/storage, dvc exp push to /storage\n" in said


def test_data_and_results_are_recorded(model: DvcProject) -> None:
    text = (model.root / "data.dvc").read_text()
    noted = "md5:" + text.split("md5: ")[1].split()[0]
    for name in EXPERIMENTS:
        known = manifest(model, name)
        assert known["data"][DATA]["digest"] == noted
        assert known["data"][DATA]["dvc"]["digest"] == noted
        left_out = {"area/model/outputs/metrics.json": "a result, by dvc.yaml"}
        assert known["code"]["left_out"] == left_out
    assert known["data"].keys() == {DATA, f"{DATA}/numbers.txt"}


def test_replay_fetches_data(without_data: DvcProject) -> None:
    """And what is declared by itself, and lies in what is fetched."""
    done = without_data.run("sh", "-c", "python -m runback replay copied 2>&1")
    assert f"fetching the data {DATA} with dvc pull" in done
    assert "\nidentical  " in done


def test_what_lies_in_other_data_is_linked_by_itself(tmp_path: Path) -> None:
    """What DVC brought of a folder in another one, which is used as it is by now."""
    texts = {"here/raw/a": "edited", "here/raw/new": "new", "here/b": "b", "brought/a": "a"}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = tmp_path / "code"
    attempt.link(code, {"mixed": tmp_path / "here", "mixed/raw": tmp_path / "brought"})
    found = {str(path.relative_to(code)) for path in code.rglob("*") if path.is_file()}
    assert found == {"mixed/raw/a", "mixed/b"}
    assert (code / "mixed" / "raw" / "a").read_text() == "a"


def frozen(model: DvcProject, path: str) -> tuple[str, set[str]]:
    """Freeze the copied one; return what was said, and the data that is in the archive."""
    target = model.root.parent / "kept.tar"
    words = f"python -m runback freeze copied --no-wheels --to '{target}' 2>&1"
    said = model.run("sh", "-c", words, PATH=path)
    with tarfile.open(target) as tar:
        names = {name for name in tar.getnames() if name.startswith("data/")}
    target.unlink()
    return said, names


def test_freeze_fetches_data(without_data: DvcProject) -> None:
    said, names = frozen(without_data, without_data.environ["PATH"])
    assert said.count("fetching the data") == 1
    assert f"({DATA}, {DATA}/numbers.txt)\n" in said
    assert names == {"data/0/numbers.txt", "data/1"}
    assert not (without_data.root / "data").exists()


def test_freeze_says_what_dvc_does_not_have(without_data: DvcProject) -> None:
    folders = without_data.environ["PATH"].split(":")
    path = ":".join(folder for folder in folders if not (Path(folder) / "dvc").exists())
    gone = f"not in it: data {DATA}: is not at {without_data.root}/data any more"
    said, names = frozen(without_data, path)
    assert f"{gone}; the data {DATA} cannot be fetched with DVC: there is no command dvc" in said
    assert names == set()


def test_experiments_of_several_pipelines(tmp_path: Path) -> None:
    """An experiment's run is named by the metrics that it changed; of git alone."""

    def ask(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit(a: str, b: str, *parents: str) -> str:
        for name, digit in (("ü", a), ("b", b)):
            (tmp_path / name / ".dvc").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / ".dvc" / "config").touch()
            (tmp_path / name / "dvc.yaml").write_text("metrics: [m.json]")
            (tmp_path / name / "m.json").write_text(json.dumps({"run_id": digit * 32}))
        ask("add", "--all")
        named = ("-c", "user.name=a", "-c", "user.email=a@b.c", "commit-tree", "-m", "x")
        return ask(*named, *parents, ask("write-tree"))

    ask("init", "--quiet")
    base = commit("1", "2")
    first, second = commit("3", "2", "-p", base), commit("1", "4", "-p", base)
    for name, rev in (("first", first), ("second", second)):
        ask("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", rev)
    one = experiments.Experiment("first", first, base, "3" * 32)
    two = experiments.Experiment("second", second, base, "4" * 32)
    assert {e.name: e for e in experiments.experiments(tmp_path)} == {"first": one, "second": two}
    assert experiments.experiments(tmp_path / "ü") == [one]
    assert experiments.experiments(tmp_path / "b" / ".dvc") == [two]


STAGES = """\
stages:
  train: {cmd: x, wdir: ../.., deps: [one, code], params: [p], outs: [model]}
  other: {cmd: x, deps: [two], outs: [made/y]}
"""


@pytest.mark.parametrize(
    ("folder", "stage", "found"),
    [
        ("pipes/a", "", "pipes/a/dvc.yaml"),
        ("pipes/a/deep", "train", "pipes/a/dvc.yaml"),
        ("pipes", "", "dvc.yaml"),
        (".", "pipes/a/dvc.yaml:train@0.5", "pipes/a/dvc.yaml"),
        ("code", "../pipes/a/dvc.yaml:train", "pipes/a/dvc.yaml"),
        ("..", "", "dvc.yaml"),
        (".", "nowhere/dvc.yaml:train", None),
    ],
)
def test_stages_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, stage: str, found: str | None
) -> None:
    """Of the dvc.yaml that DVC runs it by, or else of the nearest; within the project."""
    root = tmp_path / "project"
    for name in ("pipes/a/deep", "code"):
        (root / name).mkdir(parents=True)
    (root / "pipes" / "a" / "dvc.yaml").write_text(STAGES)
    (root / "dvc.yaml").write_text("stages: {top: {cmd: x, deps: [three]}}")
    (tmp_path / "dvc.yaml").write_text("stages: {outside: {cmd: x, deps: [four]}}")
    monkeypatch.chdir(root / folder)
    monkeypatch.setenv("DVC_STAGE", stage)
    known = stages.of_process(root)
    assert known.files == ([found] if found else [])
    if found == "pipes/a/dvc.yaml":
        assert known.deps == {"one", "code", "pipes/a/two"}
        assert known.params == {"params.yaml"}
        assert known.results(stage or "train") == {"model"}
        assert known.results("pipes/a/dvc.yaml:other") == {"pipes/a/made/y"}


def test_data_sets_in_a_folder_that_a_stage_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "dvc.yaml").write_text("stages: {s: {deps: [data, made], outs: [made]}}")
    for name in ("data/raw.dvc", "data/raw/inner.dvc", "data/more/x.csv.dvc", "made/y.dvc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert datasets.used(tmp_path) == [tmp_path / "data/raw", tmp_path / "data/more/x.csv"]


@pytest.mark.parametrize("home", ["", "area/", "area/model/"])
@pytest.mark.parametrize("copy", ["standalone/tmpa1", "tmpa1"])
def test_folder_that_a_copy_was_made_of(tmp_path: Path, home: str, copy: str) -> None:
    """The copy is of the repository, whose top a container does not see."""
    made = tmp_path / f"{home}.dvc/tmp/exps/{copy}"
    (tmp_path / "area" / "model").mkdir(parents=True)
    assert inside.origin(made / "area/model") == tmp_path / "area/model"
    (tmp_path / ".git").mkdir()
    assert inside.origin(made) == tmp_path
    assert inside.origin(made / "area/model") == tmp_path / "area/model"
