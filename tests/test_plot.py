"""runback plot and scatter: what is drawn, on a terminal, into files and pipes."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from pictures import HOSTILE, LARK, OWL, WREN, add, curve, fill, piped, point
from records import make_store, run_index
from screens import Screen, on_terminal

import runback
from runback.runs import cloud, curves, drawing, picture
from runback.runs.errors import NoMetrics, NoSuchMetric
from runback.runs.run import read


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "store", template)


@pytest.fixture
def empty(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "store", template)


def plain(root: Path, columns: int, lines: int, *words: str) -> Screen:
    """Run a command on a terminal without colours."""
    shown = on_terminal(*words, cwd=root, columns=columns, lines=lines, environ={"NO_COLOR": "1"})
    assert "\x1b" not in shown.raw
    return shown


def texts(axes: object) -> list[str]:
    legend = axes.get_legend()  # type: ignore[attr-defined]
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_terminal_of_40_columns(filled: Path) -> None:
    assert plain(filled, 40, 18, "plot", "lark").text == (
        "9f8e7d6c  lark\n"
        "val_loss\n"
        "   3 ┤⠱⡀\n"
        "     │ ⠘⢄\n"
        "     │  ⠈⠢⡀\n"
        "     │    ⠘⢄\n"
        "     │      ⠑⢄\n"
        "     │        ⠑⠄\n"
        "1.63 ┤\n"
        "     │\n"
        "     │\n"
        "     │                     ⢀⡀\n"
        "     │                      ⠈⠉⠒⠢⠤⣀⡀\n"
        "0.48 ┤                            ⠈⠉⠒⠢⠤⣀\n"
        "     └──────────────────────────────────\n"
        "      0             step              11\n"
    )


def test_terminal_of_100_columns(filled: Path) -> None:
    shown = plain(filled, 100, 24, "plot", "owl", "lark", WREN)
    lines = shown.text.splitlines()
    assert shown.width <= 100
    assert len(lines) <= 24
    assert lines[-3:] == [
        "a 1a2b3c4d  owl",
        "b 9f8e7d6c  lark",
        r"c 77777777  </svg><script>alert(1)</script>$x^$ \x1b[31m\nname",
    ]
    drawn = "".join(line.partition("┤" if "┤" in line else "│")[2] for line in lines[1:-5])
    assert set(drawn) == set("abc ")


def test_colours_and_none(filled: Path) -> None:
    assert "\x1b[34m" in on_terminal("plot", "lark", cwd=filled).raw
    assert "\x1b" not in on_terminal("plot", "lark", cwd=filled, environ={"TERM": "dumb"}).raw


@pytest.mark.parametrize("columns", [30, 40, 200])
def test_nothing_is_wider_than_the_terminal(filled: Path, columns: int) -> None:
    for words in (["plot", "owl", "lark"], ["scatter", "-p", "optimizer", "-m", "val_loss"]):
        assert plain(filled, columns, 20, *words).width <= columns


def test_piped_are_all_points(filled: Path) -> None:
    done = piped(filled, "plot", "lark", "owl")
    head, *lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert head.split("\t") == ["run", "metric", "step", "time", "value"]
    found = [line.split("\t") for line in lines]
    assert len(found) == 24  # of the metrics that both have
    assert found[0] == [LARK, "val_loss", "0", "2023-11-14T22:13:20.000+00:00", "3.0"]
    assert [row[4] for row in found[4:7]] == ["nan"] * 3


def test_json_has_all_points(filled: Path) -> None:
    done = piped(filled, "plot", "lark", "-m", "val_loss", "--json")
    (found,) = json.loads(done.stdout)
    assert (found["run_id"], found["metric"], len(found["points"])) == (LARK, "val_loss", 12)
    assert found["points"][4] == [4, "2023-11-14T22:14:20.000+00:00", "NaN"]


@pytest.mark.parametrize("ending", picture.FORMATS)
def test_the_same_runs_give_the_same_bytes(filled: Path, tmp_path: Path, ending: str) -> None:
    first, second = (tmp_path / f"{name}{ending}" for name in "ab")
    names = ("-m", "loss", "-m", "val_loss", "--x", "time")
    done = piped(filled, "plot", "owl", WREN, *names, "-o", str(first))
    assert (done.returncode, done.stdout) == (0, f"{first}\n")
    assert done.stderr == f"runback: {WREN[:8]} has no loss\n"
    chart = curves.read(read(filled, [OWL, WREN]), ["loss", "val_loss"], "time")
    picture.save(drawing.curves(chart), second, f"owl, {HOSTILE}", chart.notes)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 5_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_names_do_not_break_out_of_the_page(filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "curves.html"
    assert piped(filled, "plot", WREN, "-q", "-o", str(path)).stdout == ""
    page = path.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("</svg>") == page.count("<svg") == 1
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_other_endings_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = piped(tmp_path, "plot", "owl", "-o", "curves.gif")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: curves.gif has no ending that says a format: one of .png, .pdf, .svg, .html\n"
        "hint: runback plot RUN -o curves.png\n"
    )


def test_a_folder_that_is_not_there(filled: Path) -> None:
    done = piped(filled, "plot", "owl", "-o", "nowhere/x.png")
    assert done.returncode == 3
    assert done.stderr.endswith("nowhere: No such file or directory\n")


def test_no_runs_are_left(filled: Path) -> None:
    words = ("scatter", "-p", "optimizer", "-m", "val_loss", "-f", "val_loss > 100")
    done = piped(filled, *words)
    assert (done.returncode, done.stderr) == (
        3,
        "error: there are no such runs: nothing to draw\n"
        "hint: runback ls shows what each run has\n",
    )
    with pytest.raises(NoMetrics, match="no such runs"):
        runback.runs.list("val_loss > 100", path=filled).plot()


def test_unknown_metrics_are_named(filled: Path) -> None:
    done = piped(filled, "plot", "owl", "-m", "los")
    assert (done.returncode, done.stderr) == (
        2,
        'error: run 1a2b3c4d has no metric called "los"\nhint: metrics: accuracy, loss, val_loss\n',
    )
    with pytest.raises(NoSuchMetric, match=r'none of 3 runs has a param called "lr"'):
        cloud.read(read(filled, [OWL, LARK, WREN]), "lr", "val_loss")


def test_a_run_without_metrics(empty: Path) -> None:
    add(empty, OWL, "owl", [], {})
    run_index(empty)
    with pytest.raises(NoMetrics, match="run 1a2b3c4d has no metrics yet"):
        curves.read(read(empty, [OWL]))


def test_the_curves_of_a_figure(filled: Path) -> None:
    chart = curves.read(read(filled, [OWL]))
    figure = drawing.curves(chart)
    loss, accuracy = figure.axes
    assert (loss.get_title("left"), accuracy.get_title("left")) == ("loss", "accuracy")
    assert (loss.get_xlabel(), texts(loss)) == ("step", ["val_loss", "loss"])
    lines = {str(line.get_label()): line for line in loss.lines}
    assert np.asarray(lines["val_loss"].get_xdata()).tolist() == list(range(12))
    assert np.asarray(lines["loss"].get_ydata()).tolist() == [
        2 * math.exp(-step / 4) for step in range(12)
    ]
    assert figure.get_suptitle() == "1a2b3c4d  owl"


def test_several_runs_have_colours_and_a_legend(filled: Path) -> None:
    runs = read(filled, [OWL, LARK, WREN])
    figure = drawing.curves(curves.read(runs, ["val_loss", "loss"]))
    (axes,) = figure.axes
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:2] == ["1a2b3c4d  owl", "9f8e7d6c  lark"]
    assert "\n" not in names[2]
    assert "\x1b" not in names[2]
    assert len({line.get_color() for line in axes.lines}) == 3
    assert {line.get_linestyle() for line in axes.lines if line.get_label() == "loss"} == {"--"}


def test_gaps_infinities_and_logarithms(empty: Path) -> None:
    values = [1.0, math.nan, math.inf, 0.0, -1.0, 2.0]
    points = curve("loss", lambda step: values[step], len(values))
    points[2] = points[2]._replace(value=sys.float_info.max)
    add(empty, OWL, "owl", points, {})
    run_index(empty)
    chart = curves.read(read(empty, [OWL]))
    assert repr(chart.panels[0].curves[0].y) == "[1.0, nan, nan, 0.0, -1.0, 2.0]"
    assert chart.notes == ["1a2b3c4d has infinite values of loss, or some beyond 1e150: left out"]
    chart = curves.read(read(empty, [OWL]), is_log=True)
    assert repr(chart.panels[0].curves[0].y) == "[1.0, nan, nan, nan, nan, 2.0]"
    assert chart.notes[1:] == ["1a2b3c4d has values of loss at or below 0: not on a log scale"]
    assert drawing.curves(chart).axes[0].get_yscale() == "log"


def test_time_is_since_the_start(filled: Path) -> None:
    chart = curves.read(read(filled, [OWL]), ["loss"], curves.TIME)
    assert chart.x_label == "time (minutes)"
    assert chart.panels[0].curves[0].x == [step / 4 for step in range(12)]


def test_a_step_logged_again_counts_once(empty: Path) -> None:
    add(
        empty, OWL, "owl", [point("loss", 3.0, 0), point("loss", 2.0, 1), point("loss", 1.0, 0)], {}
    )
    run_index(empty)
    runs = read(empty, [OWL])
    assert curves.read(runs).panels[0].curves[0].y == [1.0, 2.0]
    assert sorted(curves.read(runs, x=curves.TIME).panels[0].curves[0].y) == [1.0, 2.0, 3.0]


def test_a_metric_logged_without_steps(empty: Path) -> None:
    points = [point("loss", 1.0 / k, 0)._replace(timestamp=k) for k in range(1, 5)]
    add(empty, OWL, "owl", points, {})
    run_index(empty)
    chart = curves.read(read(empty, [OWL]))
    assert chart.notes == ["1a2b3c4d has all of loss at one step: --x time draws it"]


def test_many_points_are_thinned_out(empty: Path) -> None:
    points = curve("loss", lambda s: {7_777: 99.0, 8_888: math.nan}.get(s, s % 7 / 7), 20_000)
    add(empty, OWL, "owl", points, {})
    run_index(empty)
    (line,) = curves.read(read(empty, [OWL])).panels[0].curves
    assert 1_000 < len(line.x) <= curves.MOST_POINTS + 3
    assert (line.x[0], line.x[-1]) == (0, 19_999)
    assert line.x == sorted(line.x)
    assert (line.y[line.x.index(7_777)], max(line.y[:100])) == (99.0, 6 / 7)
    assert math.isnan(line.y[line.x.index(8_888)])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["accuracy", "loss", "val_accuracy", "val_loss"], "val_loss loss val_accuracy accuracy"),
        (["train_loss", "val_loss", "lr"], "train_loss val_loss"),
        (["reward", "epsilon"], "reward"),
        (["test_accuracy", "train/acc", "val/acc"], "train/acc val/acc"),
        (["system/cpu"], "system/cpu"),
    ],
)
def test_metrics_chosen(empty: Path, names: list[str], expected: str) -> None:
    add(empty, OWL, "owl", [point(name, 1.0, 0) for name in names], {})
    run_index(empty)
    assert curves.chosen(read(empty, [OWL])) == expected.split()


def test_a_scatter_plot(filled: Path) -> None:
    runs = read(filled, [OWL, LARK, WREN])
    found = cloud.read(runs, "learning_rate", "val_loss", is_log=True)
    assert [(dot.x, dot.y) for dot in found.dots] == [
        (0.1, runs[0].latest["val_loss"]),
        (0.01, 0.25),
    ]
    assert found.notes[0].startswith("1 of 3 runs left out")
    (axes,) = drawing.scatter(found).axes
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_title("left")) == (
        *("log", "learning_rate"),
        "val_loss",
    )
    (dots,) = axes.collections
    assert dots.get_offsets().tolist() == [[dot.x, dot.y] for dot in found.dots]  # type: ignore[union-attr]


def test_a_scatter_plot_of_words(filled: Path, tmp_path: Path) -> None:
    found = cloud.read(read(filled, [OWL, LARK, WREN]), "optimizer", "val_loss", is_log=True)
    assert (found.categories, [dot.x for dot in found.dots]) == (["adam", "sgd"], [0.0, 1.0, 0.0])
    (axes,) = drawing.scatter(found).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["adam", "sgd"]
    path = tmp_path / "dots.svg"
    done = piped(filled, "scatter", "-p", "optimizer", "-m", "val_loss", "-o", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")


def test_scatter_selects_and_prints(filled: Path) -> None:
    words = ("scatter", "-p", "learning_rate", "-m", "val_loss", "-f", "optimizer = sgd")
    line = f"{LARK}\tlark\t0.01\t0.25\n"
    assert piped(filled, *words).stdout == f"run\tname\tlearning_rate\tval_loss\n{line}"
    (entry,) = json.loads(piped(filled, *words, "--json").stdout)
    assert entry == {"run_id": LARK, "name": "lark", "param": "0.01", "metric": 0.25}


@pytest.mark.parametrize("name", [HOSTILE, "日本語", "_x", "a" * 500, "$", "$\\frac$", "\ud800"])
def test_any_name_is_drawn(filled: Path, name: str) -> None:
    (run,) = read(filled, [OWL])
    object.__setattr__(run.listed, "name", name)
    chart = curves.read([run, *read(filled, [LARK])])
    assert picture.to_bytes(drawing.curves(chart), "svg").count(b"<svg") == 1


def test_extreme_values_are_drawn(empty: Path) -> None:
    values = [1e149, -1e149, 5e-324, 1e-149, 1e299]
    points = curve("loss", lambda step: values[step], 5)
    points.append(point("loss", 2.0, 2**62))
    add(empty, OWL, "owl", points, {})
    run_index(empty)
    for is_log in (False, True):
        assert picture.to_bytes(
            drawing.curves(curves.read(read(empty, [OWL]), is_log=is_log)), "png"
        )
        shown = plain(empty, 50, 20, "plot", "owl", "-q", *(["--log"] if is_log else []))
        assert (shown.status, shown.width <= 50) == (0, True)


def test_a_picture_touches_no_global_state() -> None:
    code = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 99\n"
        "from runback.runs import cloud, drawing, picture\n"
        "figure = drawing.scatter(cloud.Cloud('a', 'b', [], []))\n"
        "assert figure.axes[0].title.get_size() == 11 and picture.to_bytes(figure, 'png')\n"
        "assert matplotlib.rcParams['font.size'] == 99 and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=REPOSITORY)


def test_a_file_that_is_there_is_replaced(filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "curves.svg"
    path.write_text("old")
    target = tmp_path / "elsewhere.svg"
    shutil.move(path, target)
    path.symlink_to(target)
    assert piped(filled, "plot", "owl", "-o", str(path)).returncode == 0
    assert path.is_symlink()
    assert target.read_text().startswith("<?xml")


def test_only_drawing_loads_matplotlib(filled: Path) -> None:
    code = (
        "import sys; from runback import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print({'numpy', 'matplotlib', 'pandas', 'mlflow', 'rich'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "plot", "owl", "--store", str(filled)]
    out = subprocess.check_output(command, cwd=REPOSITORY, text=True)
    assert out.splitlines()[-1] == "set()"
