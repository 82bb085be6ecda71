"""runback.runs: what a script or a notebook reads."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import make_run
from conftest import REPOSITORY
from pictures import HOSTILE, LARK, OWL, WREN, add, curve, fill, point
from records import make_store, query, run_index
from training import make

import runback
from runback.errors import NoBest, NoStore, NoSuchRun, PackageMissing, RecordError
from runback.runs import Checkpoint, Run, Runs
from runback.runs.errors import FilterError, FolderTaken, NoSuchFile, WrongDigest
from runback.store import running

LOSSES = [0.5, 0.25, math.nan]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "store", template)


@pytest.fixture
def empty(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "store", template)


@pytest.fixture
def kept(empty: Path) -> Run:
    """Return a run with three checkpoints."""
    run_id, _ = make_run(empty, LOSSES)
    run_index(empty)
    return runback.runs.get(run_id, empty)


def test_list_filters_and_sorts(filled: Path) -> None:
    runs = runback.runs.list(path=filled)
    assert {run.id for run in runs} == {OWL, LARK, WREN}
    by_loss = runback.runs.list("val_loss < 1", sort="val_loss", path=str(filled))
    assert [run.name for run in by_loss] == ["owl", "lark"]
    several = runback.runs.list(["val_loss < 1", "optimizer = sgd"], path=filled)
    assert [run.name for run in several] == ["lark"]
    first = runback.runs.list(sort="val_loss", descending=True, limit=1, path=filled)
    assert [run.id for run in first] == [WREN]
    assert len(runback.runs.list(experiment="digits", path=filled)) == 3
    assert len(runback.runs.list(deleted=True, path=filled)) == 0


def test_runs_are_a_sequence(filled: Path) -> None:
    runs = runback.runs.list(path=filled)
    assert isinstance(runs[1:], Runs)
    assert list(runs[1:]) == [runs[1], runs[2]]
    assert (runs[-1] in runs, len(runs[:0])) == (True, 0)
    assert repr(runs) == f"<Runs: 3 in {filled}>"


def test_errors_are_worded(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(NoStore, match="there is no"):
        runback.runs.list(path=tmp_path)
    with pytest.raises(NoSuchRun, match="zebra"):
        runback.runs.get("zebra", filled)
    with pytest.raises(FilterError):
        runback.runs.list("val_loss", path=filled)


def test_get_and_best(filled: Path) -> None:
    assert runback.runs.get("owl", filled).id == OWL
    assert repr(runback.runs.get("1a2b", filled)) == "<Run 1a2b3c4d 'owl' FINISHED>"
    assert runback.runs.best(path=filled).id == LARK
    assert runback.runs.best(maximize=True, path=filled).id == WREN
    assert runback.runs.best("val_loss", path=filled).id == OWL
    assert runback.runs.best("val_loss", maximize=True, path=filled).id == WREN


def test_best_knows_that_its_process_is_gone(empty: Path) -> None:
    run_id, _ = make_run(empty, [0.5], status="RUNNING")
    run_index(empty)
    running.hold(empty, run_id).forget()  # as if it had been killed
    found = [runback.runs.best("loss", path=empty), runback.runs.list(path=empty)[0]]
    assert [run.status for run in found] == ["LOST", "LOST"]


def test_best_of_some(filled: Path, empty: Path) -> None:
    runs = runback.runs.list(path=filled)
    assert runs.best().id == OWL
    assert runs.best("val_loss", maximize=True).id == WREN
    some = Runs(filled, [run for run in runs if run.id != OWL])
    assert some.best() is some[[run.id for run in some].index(LARK)]
    with pytest.raises(NoBest):
        Runs(filled, [run for run in runs if run.id == OWL]).best()


def test_metrics_are_exact(filled: Path) -> None:
    frame = runback.runs.get("owl", filled).metrics
    assert (frame.index.name, list(frame.index)) == ("step", list(range(12)))
    assert list(frame.columns) == ["val_loss", "loss", "accuracy"]
    assert frame["loss"].tolist() == [2 * math.exp(-step / 4) for step in range(12)]
    gap = runback.runs.get("lark", filled).metrics["val_loss"]
    assert gap.isna().tolist() == [3 < step < 7 for step in range(12)]


def test_metrics_logged_again_or_at_other_steps(empty: Path) -> None:
    logged = [point("a", 1.0, 5), point("b", 2.0, 2), point("a", 0.1 + 0.2, 5)]
    infinite = point("a", 0.0, 2)._replace(value=-sys.float_info.max)
    add(empty, OWL, "owl", [*logged, infinite, point("system/cpu", 99.0, 77)], {})
    run_index(empty)
    frame = runback.runs.get("owl", empty).metrics
    assert frame.to_dict("list")["a"] == [-math.inf, 0.30000000000000004]
    assert list(frame.index) == [2, 5]
    assert frame["b"].isna().tolist() == [False, True]


def test_a_run_without_metrics(empty: Path) -> None:
    add(empty, OWL, "owl", [], {})
    run_index(empty)
    run = runback.runs.get("owl", empty)
    assert (len(run.metrics), run.metrics.index.name) == (0, "step")
    assert "<img" not in run._repr_html_()


def test_to_frame(filled: Path) -> None:
    frame = runback.runs.list(path=filled).to_frame()
    assert frame.loc[OWL, "params.learning_rate"] == 0.1
    assert np.isnan(frame.loc[WREN, "params.learning_rate"])
    assert frame.loc[LARK, "params.optimizer"] == "sgd"
    assert frame.loc[WREN, "metrics.val_loss"] == 1.25
    assert frame.loc[WREN, "name"] == HOSTILE
    assert frame.loc[OWL, "duration_s"] == 180.0
    assert len(Runs(filled, []).to_frame()) == 0


def test_refresh_sees_what_others_wrote(filled: Path, tmp_path: Path, template: Path) -> None:
    root = fill(tmp_path / "store", template)
    run, runs = runback.runs.get("owl", root), runback.runs.list(path=root)
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript('''"
        "INSERT INTO metrics SELECT key, 7.5, 9, run_uuid, 99, 0 FROM metrics LIMIT 1;"
        "UPDATE latest_metrics SET value = 7.5; UPDATE runs SET name = 'eagle';''')"
    )
    subprocess.run([sys.executable, "-c", code, str(root / "mlflow.db")], check=True)
    assert (run.name, 7.5 in run.latest.values()) == ("owl", False)
    assert run.refresh() is run
    assert (run.name, run.latest["loss"]) == ("eagle", 7.5)
    assert {run.name for run in runs.refresh()} == {"eagle"}
    query(root / "mlflow.db", "DELETE FROM runs WHERE run_uuid = ?", OWL)
    with pytest.raises(NoSuchRun):
        run.refresh()


def test_figures(filled: Path) -> None:
    runs = runback.runs.list(path=filled)
    (axes,) = runs.plot("val_loss", log=True).axes
    assert (axes.get_yscale(), len(axes.lines)) == ("log", 3)
    assert len(runs.scatter("optimizer", "val_loss").axes[0].collections) == 1
    figure = runback.runs.get("owl", filled).plot(["loss", "accuracy"], x="time")
    assert [axes.get_xlabel() for axes in figure.axes] == ["time (minutes)"] * 2
    shown, size = figure._repr_png_()  # type: ignore[attr-defined]
    assert (shown[:4], size) == (b"\x89PNG", {"width": 1000})


def test_checkpoints(kept: Run) -> None:
    first, second, third = kept.checkpoints
    assert [c.step for c in kept.checkpoints] == [0, 1, 2]
    assert (first.path.name, first.files, first.metrics) == (
        "model.pt",
        {"model.pt": 1000},
        {"loss": 0.5},
    )
    assert math.isnan(third.metrics["loss"])
    assert second.primary_metric == kept.primary_metric
    assert second.created.year == 2023
    assert repr(first) == f"<Checkpoint 'model' at step 0 of run {kept.short_id}>"


def test_a_checkpoint_is_opened(kept: Run) -> None:
    checkpoint = kept.checkpoints[1]
    for path in ("", "model.pt", Path("model.pt")):
        with checkpoint.open(path) as file:
            assert file.read() == b"1" * 1000
    for path in ("other", "../../../../mlflow.db", "/etc/passwd", "runback/checkpoint.json"):
        with pytest.raises(NoSuchFile, match=r"model\.pt"):
            checkpoint.open(path)


def test_a_checkpoint_is_checked_out(kept: Run, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    assert kept.checkpoints[2].checkout(target) == target / "model.pt"
    assert (target / "model.pt").read_bytes() == b"2" * 1000
    with pytest.raises(FolderTaken):
        kept.checkpoints[0].checkout(target)
    assert (target / "model.pt").read_bytes() == b"2" * 1000


def damaged(checkpoint: Checkpoint, content: bytes) -> Checkpoint:
    (path,) = checkpoint.run.root.glob(f"mlruns/1/models/{checkpoint.id}/artifacts/model.pt")
    path.unlink()
    path.write_bytes(content)
    return checkpoint


def test_a_damaged_checkpoint_is_refused(kept: Run, tmp_path: Path) -> None:
    first, second, third = kept.checkpoints
    with pytest.raises(WrongDigest):
        damaged(first, b"x" * 1000).checkout(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(WrongDigest):
        damaged(second, b"short").open()
    (path,) = kept.root.glob(f"mlruns/1/models/{third.id}/artifacts/model.pt")
    path.unlink()
    path.symlink_to(kept.root / "mlflow.db")
    with pytest.raises(RecordError, match="link"):
        third.open()


def test_a_notebook_shows_tables_and_pictures(filled: Path, kept: Run) -> None:
    runs = runback.runs.list(path=filled)
    for shown in (runs._repr_html_(), runs.refresh()[0]._repr_html_(), kept._repr_html_()):
        assert shown.count("<table>") == shown.count("</table>") > 0
    hostile = runback.runs.get(WREN, filled)
    for shown in (runs._repr_html_(), hostile._repr_html_()):
        assert "<script" not in shown
        assert "&lt;script&gt;" in shown
        assert shown.isprintable()
    assert 'src="data:image/svg+xml;base64,' in hostile._repr_html_()
    assert re.search(r"<td>1</td>.*0\.25", kept.checkpoints[1]._repr_html_())
    assert "checkpoints" in kept._repr_html_()


def test_many_runs_are_not_all_shown(filled: Path) -> None:
    run = runback.runs.get("owl", filled)
    shown = Runs(filled, [run] * 53)._repr_html_()
    assert shown.count("<tr>") == 51
    assert "and 3 more runs" in shown


@pytest.mark.parametrize("package", ["pandas", "matplotlib"])
def test_a_missing_package_is_named(
    filled: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    run = runback.runs.get("owl", filled)
    with pytest.raises(PackageMissing, match=f"needs {package}") as caught:
        run.plot() if package == "matplotlib" else run.metrics
    assert caught.value.hint == f"pip install {package}"
    assert "owl" in run._repr_html_()


def test_reading_imports_nothing_heavy(filled: Path) -> None:
    code = (
        "import sys, runback\n"
        "runs = runback.runs.list(path=sys.argv[1]); runs[0].checkpoints; runs[0].refresh()\n"
        "heavy = {'numpy', 'pandas', 'mlflow', 'matplotlib', 'rich', 'click'}\n"
        "print(heavy & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(filled)]
    assert subprocess.check_output(command, cwd=REPOSITORY, text=True) == "set()\n"


def test_names_of_the_package() -> None:
    assert all(callable(getattr(runback.runs, name)) for name in runback.runs.__all__)
    # Importing a module of the package would put it in the place of a function.
    modules = {path.stem for path in (REPOSITORY / "runback" / "runs").iterdir()}
    assert not modules & set(runback.runs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lst'"):
        runback.runs.lst  # noqa: B018


def test_a_long_history_is_whole(empty: Path) -> None:
    add(empty, OWL, "owl", curve("loss", float, 5_000), {})
    run_index(empty)
    assert runback.runs.get("owl", empty).metrics["loss"].tolist() == list(map(float, range(5_000)))


def test_the_blocks_of_the_page_run(tmp_path: Path, template: Path) -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    done = make(tmp_path / "project", template).train(
        code + "\nprint(lowest == weight**2, folder.read_text() == repr(weight))"
    )
    assert done.returncode == 0, done.stderr
    assert "rate-0.4 FINISHED 0.4" in done.stdout
    assert 'begins with "zebra"' in done.stdout
    assert done.stdout.splitlines()[-1] == "True True"


def test_ipython_shows_them(filled: Path) -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    run = runback.runs.get("owl", filled)
    shown, _ = formatters.DisplayFormatter().format(run)
    assert shown["text/html"] == run._repr_html_()
    shown, _ = formatters.DisplayFormatter().format(run.plot())
    assert shown["image/png"].startswith(b"\x89PNG")
