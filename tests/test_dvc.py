"""DVC's experiments and our runs point at one another; its data is recorded, and fetched again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dvcs
import pytest
from dvcs import DvcProject
from records import query

EXPERIMENTS = ("lower", "higher")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """Return a project with a baseline, an experiment in the workspace, and one in a copy."""
    made = dvcs.make(tmp_path_factory.mktemp("dvc"))
    made.dvc("repro", "--quiet")
    made.commit("baseline")
    made.dvc("exp", "run", "--quiet", "-n", "lower", "-S", "train.rate=0.1")
    made.git("checkout", "--quiet", ".")
    made.dvc("exp", "run", "--quiet", "--temp", "-n", "higher", "-S", "train.rate=0.9")
    return made


def tags(project: DvcProject, name: str) -> dict[str, str]:
    sql = "SELECT tags.key, tags.value FROM tags JOIN runs USING (run_uuid) WHERE runs.name = ?"
    return dict(query(project.root / "mlflow.db", sql, name))


def run_id(project: DvcProject, name: str) -> str:
    return project.runback("ls", "-q", name).strip()


def manifest(project: DvcProject, name: str) -> dict[str, Any]:
    pattern = f"mlruns/*/{run_id(project, name)}/artifacts/runback/manifest.json"
    (path,) = project.root.glob(pattern)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def revision(project: DvcProject, name: str) -> str:
    words = ("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}")
    return project.git(*words).strip()


def shown(project: DvcProject) -> dict[str, str]:
    """Return the run id that `dvc exp show` has of each experiment."""
    baseline = json.loads(project.dvc("exp", "show", "--json"))[-1]
    found = {}
    for experiment in baseline["experiments"]:
        (rev,) = experiment["revs"]
        found[rev["name"]] = rev["data"]["metrics"]["outputs/metrics.json"]["data"]["run_id"]
    return found


def test_each_points_at_the_other(project: DvcProject) -> None:
    baseline = project.git("rev-parse", "HEAD").strip()
    for name in EXPERIMENTS:
        found = tags(project, name)
        assert (found["dvc.exp_name"], found["dvc.stage"]) == (name, "train")
        assert found["dvc.baseline_rev"] == baseline
    assert shown(project) == {name: run_id(project, name) for name in EXPERIMENTS}


def test_index_notes_the_commit_that_dvc_made(project: DvcProject) -> None:
    printed = project.runback("index")
    assert printed.endswith(", 2 tied to the DVC experiment that made them\n")
    assert "edited here" not in printed
    for name in EXPERIMENTS:
        assert tags(project, name)["dvc.exp_rev"] == revision(project, name)
    assert project.runback("index") == "3 runs: nothing new\n"
    (edits,) = project.root.glob(f"mlruns/*/{run_id(project, 'lower')}/artifacts/runback/edits-*")
    assert revision(project, "lower") in edits.read_text()  # it travels


def test_an_experiments_commit_names_its_run(project: DvcProject) -> None:
    assert run_id(project, revision(project, "higher")[:7]) == run_id(project, "higher")


def test_a_copys_run_is_in_the_projects_store(project: DvcProject) -> None:
    """The folder that `--temp` trained in is gone, with all that was beside it."""
    code = manifest(project, "higher")["code"]
    assert "/.dvc/tmp/exps/" in code["root"]
    assert not Path(code["root"]).exists()
    assert code["left_out"] == {"outputs/metrics.json": "a result, by dvc.yaml"}
    assert "outputs/metrics.json" not in code["files"]


def test_result_of_a_stage_is_an_input_elsewhere(project: DvcProject) -> None:
    """Outside of the stage that makes it anew, a script may read it."""
    project.write("report.py", REPORT)
    project.run("python", "report.py")
    assert "outputs/metrics.json" in manifest(project, "@latest")["code"]["files"]
    assert project.runback("replay", "@latest").startswith("identical")
    (project.root / "report.py").unlink()


REPORT = """\
import json, mlflow, runback
from pathlib import Path
with runback.init(name="report"):
    mlflow.log_metric("again", json.loads(Path("outputs/metrics.json").read_text())["weight"])
"""


def test_replay_of_a_copys_run(project: DvcProject) -> None:
    assert project.runback("replay", "higher").startswith("identical")
    assert tags(project, "higher")["runback.verdict"] == "identical"
    replayed = tags(project, "higher")["runback.replayed_as"]
    sql = "SELECT key FROM tags WHERE run_uuid = ? AND key LIKE 'dvc.%'"
    assert query(project.root / "mlflow.db", sql, replayed) == []


def test_the_same_name_again_is_the_later_run(project: DvcProject) -> None:
    before = run_id(project, "lower")
    words = ("exp", "run", "--quiet", "--force", "--temp", "-n", "lower", "-S", "train.rate=0.2")
    project.dvc(*words)
    after = run_id(project, "lower")
    assert before != after
    assert shown(project)["lower"] == after
    project.dvc("exp", "rename", "lower", "second")
    assert run_id(project, "second") == after
    project.runback("index")
    sql = "SELECT value FROM tags WHERE run_uuid = ? AND key = 'dvc.exp_rev'"
    assert query(project.root / "mlflow.db", sql, after) == [(revision(project, "second"),)]
    project.dvc("exp", "rename", "second", "lower")


def test_name_that_begins_a_run_id_as_well(project: DvcProject) -> None:
    other = run_id(project, "higher")
    project.dvc("exp", "rename", "lower", other[:5])
    done = project.run("sh", "-c", f"python -m runback show {other[:5]} 2>&1", status=3)
    assert f'2 runs have an id that begins with "{other[:5]}", or that name' in done
    project.dvc("exp", "rename", other[:5], "lower")


def test_name_upon_two_commits_is_that_of_the_current_one(project: DvcProject) -> None:
    before = run_id(project, "lower")
    project.git("commit", "--quiet", "--allow-empty", "--message", "next")
    project.dvc("exp", "run", "--quiet", "--temp", "-n", "lower", "-S", "train.rate=0.3")
    after = run_id(project, "lower")
    assert before != after
    project.git("reset", "--quiet", "--soft", "HEAD~1")
    assert run_id(project, "lower") == before


def test_an_unknown_name_is_no_run(project: DvcProject) -> None:
    project.runback("show", "sideways", status=3)


def data_of(project: DvcProject, name: str) -> dict[str, Any]:
    found: dict[str, Any] = manifest(project, name)["data"]["data"]
    return found


def noted(project: DvcProject) -> str:
    return "md5:" + (project.root / "data.dvc").read_text().split("md5: ")[1].split()[0]


def test_data_is_recorded_by_dvcs_digest(project: DvcProject) -> None:
    for name in EXPERIMENTS:
        found = data_of(project, name)
        assert (found["digest"], found["files"]) == (noted(project), 1)
        assert found["dvc"] == {"file": "data.dvc", "digest": noted(project), "hashed": True}


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_data_that_is_linked_to_dvcs_cache_is_not_read(project: DvcProject, kind: str) -> None:
    cache = project.root / ".runback" / "digests-dvc.json"
    project.dvc("config", "--local", "cache.type", kind)
    project.dvc("checkout", "--quiet", "--relink")
    before = cache.read_text()
    project.run("python", "train.py")
    found = data_of(project, "@latest")
    assert (found["digest"], found["dvc"]["hashed"]) == (noted(project), False)
    assert cache.read_text() == before
    project.dvc("config", "--local", "--unset", "cache.type")
    project.dvc("checkout", "--quiet", "--relink")


def test_data_of_another_commit_is_not_taken_for_this_ones(project: DvcProject) -> None:
    """`git checkout` writes data.dvc anew; without `dvc checkout` the data stays as it is."""
    path, before = project.root / "data" / "numbers.txt", noted(project)
    text = path.read_text()
    project.git("stash", "--quiet")
    project.git("switch", "--quiet", "--create", "other")
    path.write_text(text.replace("17", "71"))
    project.dvc("add", "--quiet", "data")
    project.commit("other data, as large")
    other = noted(project)
    project.git("switch", "--quiet", "main")
    assert noted(project) == before != other
    project.run("python", "train.py")
    found = data_of(project, "@latest")
    assert (found["digest"], found["dvc"]["digest"]) == (other, before)
    project.dvc("checkout", "--quiet", "--force")
    assert path.read_text() == text
    project.git("branch", "-D", "--quiet", "other")


def test_data_that_was_edited_is_hashed(project: DvcProject) -> None:
    path = project.root / "data" / "numbers.txt"
    text = path.read_text()
    path.write_text(text.replace("7", "8"))
    try:
        project.run("python", "train.py")
        found = data_of(project, "@latest")
        assert found["dvc"] == {"file": "data.dvc", "digest": noted(project), "hashed": True}
        assert found["digest"] != noted(project)
        assert DVC_STATUS in project.dvc("status")
    finally:
        path.write_text(text)


DVC_STATUS = "modified:           data"


def test_replay_fetches_data_as_it_was(project: DvcProject, tmp_path: Path) -> None:
    """Gone here and from the cache, and another version by now: a remote has the old one."""
    project.dvc("remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    project.dvc("push", "--quiet")
    shutil.rmtree(project.root / ".dvc" / "cache")
    shutil.rmtree(project.root / "data")
    would = project.runback("replay", "higher", "--dry-run")
    assert "  data         data: fetched with dvc pull\n" in would
    assert project.runback("replay", "higher").startswith("identical")
    assert not (project.root / "data").exists()
    assert not list(project.root.glob("replays/*/data/*/.dvc/config"))  # may hold a password
    project.write("data/numbers.txt", "1\n2\n")
    project.dvc("add", "--quiet", "data")
    assert project.runback("replay", "higher").startswith("identical")
    assert (project.root / "data" / "numbers.txt").read_text() == "1\n2\n"
    report = project.runback("replay", "higher", PATH=without_dvc(project), status=1)
    assert "  cause 1      the data data is not what was recorded: md5:" in report


def test_data_that_dvc_cannot_fetch(project: DvcProject) -> None:
    project.dvc("remote", "add", "--local", "--default", "--force", "store", "/nowhere/store")
    shutil.rmtree(project.root / ".dvc" / "cache", ignore_errors=True)
    shutil.rmtree(project.root / "data")
    done = project.run("sh", "-c", "python -m runback replay higher 2>&1", status=3)
    assert "error: the data data cannot be fetched with DVC: " in done
    assert "Traceback" not in done
    command = "python -m runback replay higher 2>&1"
    done = project.run("sh", "-c", command, status=3, PATH=without_dvc(project))
    assert "hint: put dvc on the PATH, which fetches it, or: runback replay" in done


def without_dvc(project: DvcProject) -> str:
    folders = project.environ["PATH"].split(":")
    return ":".join(folder for folder in folders if not (Path(folder) / "dvc").exists())
