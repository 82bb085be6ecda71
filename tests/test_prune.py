"""runback prune: what counts stays, nothing half, and pruned on all machines."""

from __future__ import annotations

import json
import math
import shutil
from functools import partial
from pathlib import Path

import pytest
import training
from checkpoints import make_run
from records import STORE, dump, is_sound, make_store, query, run_index
from test_rm import instants, killed_after, register, screen, sync, took

from runback.record import check, checkpoint, fields, files
from runback.record.primary import PrimaryMetric
from runback.runs import prune as verb
from runback.runs.prune import Keep, choose
from runback.store import models, running
from runback.store.identity import known_id, store_id
from runback.store.models import Model
from runback.store.places import scan

LOSSES = [0.5, 0.2, math.nan, 0.4, 0.3]


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "störe", template)


def listed(root: Path) -> list[str]:
    return [row[0] for row in query(root / "mlflow.db", "SELECT model_id FROM logged_models")]


def on_disk(root: Path) -> set[str]:
    return {path.name for path in (root / "mlruns").glob("*/models/*")}


def problems(root: Path, run_id: str) -> list[str]:
    places = scan(root / "mlruns")
    record = places.record(run_id)
    return list(check.problems(record, run_id, places.artifacts, known_id(root)))


def made(losses: list[float], name: str = "loss") -> list[Model]:
    return [
        Model(str(i), "r", "m", "checkpoint", "", i, i, {name: x}) for i, x in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("losses", "goal", "best", "last", "stay"),
    [
        (LOSSES, "minimize", 1, None, "1"),
        (LOSSES, "maximize", 1, None, "0"),
        (LOSSES, "maximize", 2, 1, "034"),
        (LOSSES, "minimize", 9, None, "0134"),
        (LOSSES, "minimize", None, 2, "34"),
        ([math.nan, math.nan], "minimize", 1, None, "1"),
        ([math.nan, math.inf], "minimize", 1, None, "1"),
        ([0.2, -math.inf, 0.1], "minimize", 1, None, "2"),
        ([0.2, math.inf, 0.1], "maximize", 2, None, "02"),
        ([0.1, 0.1, 0.1], "minimize", 1, None, "0"),
        ([0.1], "minimize", 3, 3, "0"),
        (LOSSES, "minimize", None, 6, "01234"),
        (LOSSES, "minimize", None, 9, "01234"),
        ([], "minimize", 1, 1, ""),
    ],
)
def test_what_stays(
    losses: list[float], goal: str, best: int | None, last: int | None, stay: str
) -> None:
    assert choose(made(losses), PrimaryMetric("loss", goal), Keep(best, last)) == set(stay)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_infinity_is_not_shown_as_the_best(goal: str) -> None:
    metric = PrimaryMetric("loss", goal)
    found = models.best(made([-math.inf, 0.2, math.inf, math.nan]), metric)
    assert found
    assert found.step == 1
    assert models.best(made([math.inf, -math.inf]), metric) is None


def test_last_one_stays_where_none_has_the_metric() -> None:
    assert choose(made([0.1], "f1"), PrimaryMetric("loss", "minimize"), Keep(1, None)) == {"0"}


def test_screen(root: Path) -> None:
    run_id, models = make_run(root, LOSSES)
    run_index(root)
    short, before = run_id[:8], dump(root / "mlflow.db")
    lines = f"{short}  step 0  loss 0.5\n{short}  step 2  loss nan\n{short}  step 3  loss 0.4\n"
    keep = ("prune", run_id, "--keep-best", "1", "--keep-last", "1")
    _, out, _ = screen(root, *keep, "--dry-run", "--json")
    amount = f"{json.loads(out)['freed_bytes'] / 1000:.3g} kB"
    assert screen(root, *keep, "--dry-run") == (
        0,
        f"{lines}3 checkpoints would be removed, {amount} to be freed; 2 kept\n",
        "",
    )
    assert dump(root / "mlflow.db") == before
    assert on_disk(root) == set(models)
    expected = _size(root)
    assert screen(root, *keep) == (0, f"{lines}3 checkpoints removed, {amount} freed; 2 kept\n", "")
    assert amount == f"{(expected - _size(root)) / 1000:.3g} kB"
    assert set(listed(root)) == on_disk(root) == {models[1], models[4]}
    assert len(list((root / ".runback" / "objects").glob("*/*"))) == 2
    nothing = "0 checkpoints removed, 0 B freed; 2 kept\n"
    assert screen(root, *keep) == (0, nothing, "")
    assert screen(root, *keep, "-q") == (0, "", "")


def _size(root: Path) -> int:
    """Return the bytes of what is in mlruns/, but for the edits."""
    paths = [p for p in (root / "mlruns").rglob("*") if p.is_file()]
    return sum(p.lstat().st_size for p in paths if not p.name.startswith("edits-"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN"], "say what stays: --keep-best N, --keep-last N, or both"),
        (["--keep-last", "1"], "say of which runs: RUN…, --experiment NAME, or --all"),
        (["RUN", "--all", "--keep-last", "1"], "say of which runs"),
        (["RUN", "--keep-best", "0"], "0 is not in the range x>=1"),
    ],
)
def test_usage(root: Path, words: list[str], message: str) -> None:
    status, out, err = screen(root, "prune", *words)
    assert (status, out) == (2, "")
    assert message in err


def test_what_is_no_checkpoint_of_ours_stays(root: Path) -> None:
    """Models that others logged, that are not ready, are registered, or lie elsewhere."""
    run_id, models = make_run(root, [0.5, 0.4, 0.3, 0.2, 0.1])
    _, others = make_run(root, [0.5, 0.4], kind="")
    run_index(root)
    register(root, "digits", 1, None, f"models:/{models[0]}")
    sql = "UPDATE logged_models SET {} WHERE model_id = ?"
    query(root / "mlflow.db", sql.format("status = 1"), models[1])
    elsewhere = "artifact_location = 's3://bucket/x'"
    query(root / "mlflow.db", sql.format(elsewhere), models[2])
    status, out, _ = screen(root, "prune", "--all", "--keep-last", "1")
    assert (status, out.splitlines()[:-1]) == (0, [f"{run_id[:8]}  step 3  loss 0.2"])
    assert set(listed(root)) == {*others, *models} - {models[3]}


def test_run_that_names_no_metric(root: Path) -> None:
    run_id, models = make_run(root, [0.5, 0.4], primary=None)
    run_index(root)
    keep = ("prune", "--experiment", "digits", "--keep-last", "1")
    assert screen(root, *keep, "--keep-best", "1") == (
        0,
        f"{run_id[:8]}  names no primary metric: nothing is the best, all stays\n"
        "0 checkpoints removed, 0 B freed; 2 kept\n",
        "",
    )
    assert screen(root, *keep, "-q") == (0, "", "")
    assert listed(root) == models[1:]


def test_damaged_checkpoint_stands_for_no_other(root: Path) -> None:
    """The best one's file is gone: the next best stays, and what is left of the best too."""
    run_id, models = make_run(root, [0.5, 0.1, 0.3])
    run_index(root)
    (file,) = (root / "mlruns" / "1" / "models" / models[1] / "artifacts").glob("*.pt")
    file.unlink()
    status, out, _ = screen(root, "prune", run_id, "--keep-best", "1")
    assert (status, out.splitlines()[:-1]) == (0, [f"{run_id[:8]}  step 0  loss 0.5"])
    assert set(listed(root)) == set(models[1:])


def test_run_that_goes_on_is_pruned(root: Path) -> None:
    run_id, models = make_run(root, [0.5, 0.4, 0.3], status="RUNNING", store=store_id(root))
    run_index(root)
    hold = running.hold(root, run_id)
    verb.prune(root, [run_id], Keep(None, 1))
    assert listed(root) == models[2:]
    hold.release()
    run_index(root)
    assert listed(root) == models[2:]


# The record, here and on other machines.


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "copied"])
def test_record_stays_whole(root: Path, is_own: bool) -> None:
    run_id, models = make_run(root, [0.5, 0.4], store=store_id(root) if is_own else STORE)
    run_index(root)
    assert problems(root, run_id) == []
    verb.prune(root, [run_id], Keep(1, None))
    points = query(root / "mlflow.db", "SELECT value FROM metrics ORDER BY step")
    for _ in range(3):
        assert problems(root, run_id) == []
        assert screen(root, "verify", run_id)[0] == 0
        assert listed(root) == models[1:]
        assert query(root / "mlflow.db", "SELECT value FROM metrics ORDER BY step") == points
        report = run_index(root)
        assert report.wrong == {}
    assert (report.refreshed, report.edited, report.completed) == ([], [], [])
    shutil.rmtree(root / "mlruns" / "1" / "models" / models[1])
    assert problems(root, run_id) == [f"model {models[1]}: its folder is missing"]


def test_own_runs_checkpoint_is_pruned_on_all_machines(root: Path, template: Path) -> None:
    """Not listed on a new machine or one that has it, whose prune removes its files too."""
    run_id, models = make_run(root, [0.5, 0.4], store=store_id(root))
    run_index(root)
    before = make_store(root.parent / "before", template)
    sync(root, before)
    run_index(before)
    verb.prune(root, [run_id], Keep(None, 1))
    after = make_store(root.parent / "after", template)
    for other in (before, after):
        sync(root, other)
        run_index(other)
        assert listed(other) == models[1:]
        assert is_sound(other / "mlflow.db")
        assert problems(other, run_id) == []
        assert run_index(other).refreshed == []
    assert on_disk(before) == set(models)
    _, out, _ = screen(before, "prune", run_id, "--keep-last", "1")
    assert out.startswith(f"{run_id[:8]}  files of 1 checkpoint that had been removed before\n")
    assert on_disk(before) == set(models[1:])


def test_copy_that_is_pruned_is_pruned_there_alone(root: Path, template: Path) -> None:
    run_id, models = make_run(root, [0.5, 0.4], store=store_id(root))
    run_index(root)
    copy = make_store(root.parent / "copy", template)
    sync(root, copy)
    run_index(copy)
    verb.prune(copy, [run_id], Keep(None, 1))
    sync(copy, root)
    run_index(root)
    assert (listed(root), listed(copy)) == (models, models[1:])
    assert problems(root, run_id) == problems(copy, run_id) == []
    shutil.rmtree(root / "mlruns" / "1" / "models" / models[0])
    assert problems(root, run_id) == [f"model {models[0]}: its folder is missing"]


def test_files_that_come_back_are_not_listed(root: Path, tmp_path: Path) -> None:
    run_id, models = make_run(root, [0.5, 0.4], store=store_id(root))
    run_index(root)
    shutil.copytree(root / "mlruns", tmp_path / "copy" / "mlruns")
    verb.prune(root, [run_id], Keep(None, 1))
    for path in (root / "mlruns" / "1" / run_id / "artifacts" / "runback").glob("edits-*"):
        path.unlink()  # rsync --delete from the copy
    sync(tmp_path / "copy", root)
    for _ in range(2):
        run_index(root)
        assert listed(root) == models[1:]
        assert problems(root, run_id) == []
    verb.prune(root, [run_id], Keep(None, 1))
    assert on_disk(root) == set(models[1:])


def test_edit_that_names_another_runs_checkpoint_removes_nothing(root: Path) -> None:
    good, models = make_run(root, [0.5])
    bad, _ = make_run(root, [0.5])
    record = root / "mlruns" / "1" / bad / "artifacts" / "runback"
    edits = {f"model:{models[0]}": fields.Edit(1, STORE, "pruned")}
    fields.write(record, STORE, {**edits, "model:../../..": fields.Edit(1, STORE, "pruned")})
    run_index(root)
    screen(root, "prune", "--all", "--keep-last", "1")
    assert models[0] in listed(root)
    query(root / "mlflow.db", "DELETE FROM logged_models WHERE model_id = ?", models[0])
    screen(root, "prune", "--all", "--keep-last", "1")
    assert models[0] in on_disk(root)
    assert (root / "mlruns" / "1" / good).is_dir()


@pytest.mark.parametrize("value", [None, 1, "kept"])
def test_edit_of_a_model_is_checked(root: Path, value: str | int | None) -> None:
    run_id, models = make_run(root, [0.5])
    record = root / "mlruns" / "1" / run_id / "artifacts" / "runback"
    fields.write(record, STORE, {f"model:{models[0]}": fields.Edit(1, STORE, value)})
    assert f"edits-{STORE}.json has {value!r}" in next(iter(run_index(root).wrong.values()))
    assert listed(root) == models


# Kills; MLflow.


def test_prune_killed_at_30_instants(root: Path) -> None:
    """What is listed is whole, and the record too; the same command, or an index, ends it."""
    runs = [make_run(root, [0.5, 0.4, 0.3], store=store_id(root)) for _ in range(31)]
    run_index(root)
    work = [partial(verb.prune, root, [run_id], Keep(1, None)) for run_id, _ in runs]
    duration_s = took(work[30])
    done = 0
    for i, seconds in enumerate(instants(duration_s * 1.2, 30)):
        run_id, models = runs[i]
        done += killed_after(seconds, work[i])
        present = set(listed(root)) & set(models)
        assert present in (set(models), set(models[2:]))
        for model in present:
            folder = root / "mlruns" / "1" / "models" / model / "artifacts"
            known = checkpoint.read(folder, model).files["model.pt"]
            assert files.digest(folder / "model.pt") == known
        if i % 2:
            run_index(root)
        if i % 2 == 0 or present == set(models):
            work[i]()
        assert set(models) & on_disk(root) == set(models) & set(listed(root)) == {models[2]}
        assert problems(root, run_id) == []
    assert done < 30
    assert is_sound(root / "mlflow.db")
    stored = [path.lstat().st_nlink for path in (root / ".runback" / "objects").glob("*/*")]
    assert min(stored) > 1
    assert not list((root / ".runback" / "trash").iterdir())


TRAINING = """
import mlflow
from pathlib import Path
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    mlflow.set_tag("runback.primary_metric", "loss minimize")
    for step, loss in enumerate([0.5, 0.3, 0.4]):
        model = client.create_logged_model("0", "model", run.info.run_id, model_type="checkpoint")
        client.log_outputs(
            run.info.run_id, [mlflow.entities.LoggedModelOutput(model.model_id, step)]
        )
        folder = Path(model.artifact_location)
        folder.mkdir(parents=True)
        (folder / "model.pt").write_text("x" * 1000 + str(step))
        mlflow.log_metric("loss", loss, step=step, model_id=model.model_id)
        client.finalize_logged_model(model.model_id, "READY")
"""
LISTED = """
import mlflow
client = mlflow.MlflowClient()
models = client.search_logged_models(["0"])
run = client.get_run(models[0].source_run_id)
history = client.get_metric_history(run.info.run_id, "loss")
print(sorted(model.metrics[0].value for model in models))
print([point.value for point in history])
print([output.model_id for output in run.outputs.model_outputs] == [m.model_id for m in models])
"""


def test_gone_from_mlflows_lists_and_the_rest_is_there(tmp_path: Path, template: Path) -> None:
    store = training.make(tmp_path / "store", template)
    done = store.train(TRAINING)
    assert done.returncode == 0, done.stderr
    assert store.runback("prune", "@latest", "--keep-best", "1").stdout.endswith(
        "2 checkpoints removed, 2 kB freed; 1 kept\n"
    )
    assert store.train(LISTED).stdout == "[0.3]\n[0.5, 0.3, 0.4]\nTrue\n"
    assert is_sound(store.database)
    (run_id,) = (row[0] for row in query(store.database, "SELECT run_uuid FROM runs"))
    assert store.problems(run_id) == []
    store.index()
    assert store.problems(run_id) == []
    assert len(listed(store.root)) == 1
