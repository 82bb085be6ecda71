"""runback ls, ps, show and best: exact screens, plain lines, filters, what can go wrong."""

from __future__ import annotations

import fcntl
import json
import math
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import training
from conftest import plain_environ
from processes import Started
from records import make_record, make_store, query, run_index
from screens import loaded, on_terminal

from runback.record.metrics import LARGEST, Point
from runback.store import running

BEGAN_MS = 1_700_000_000_000
RUNS = (
    ("0a" * 16, "brave-auk-1", {"lr": "0.1", "epochs": "3"}, [0.5, 0.7, 0.9]),
    ("1b" * 16, "calm-bee-2", {"lr": "0.01", "epochs": "3"}, [0.4, 0.5, 0.45]),
    ("1c" * 16, "dull-cat-3", {"lr": "1e-1", "epochs": "3", "warm": "yes"}, [0.1, math.nan]),
)


def points(values: list[float], key: str = "val_accuracy") -> list[Point]:
    return [
        Point(key, 0.0 if math.isnan(v) else v, BEGAN_MS + step, step, math.isnan(v))
        for step, v in enumerate(values)
    ]


def rows(run_id: str, name: str, params: dict[str, str], start_ms: int) -> dict[str, Any]:
    return {
        "runs": [
            {
                **{"run_uuid": run_id, "name": name, "user_id": "ada", "status": "FINISHED"},
                **{"start_time": start_ms, "end_time": start_ms + 90_000, "source_type": "LOCAL"},
                **{"lifecycle_stage": "active", "experiment_id": 1, "deleted_time": None},
                "artifact_uri": f"/home/ada/mlruns/1/{run_id}/artifacts",
            }
        ],
        "params": [{"key": k, "value": v, "run_uuid": run_id} for k, v in params.items()],
        "tags": [],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """Return a store with three runs; the last has logged a NaN."""
    folder = make_store(tmp_path_factory.mktemp("ls") / "lap töp", template)
    for number, (run_id, name, params, values) in enumerate(RUNS):
        content = rows(run_id, name, params, BEGAN_MS + number * 60_000)
        make_record(folder / "mlruns", run_id, points(values), rows=content)
    run_index(folder)
    return folder


def call(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runback", *words],
        cwd=root,
        env=plain_environ(**environ),
        capture_output=True,
        text=True,
        timeout=180,
    )


def out(root: Path, *words: str) -> str:
    done = call(root, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def names(text: str) -> list[str]:
    return [line.split("\t")[1] for line in text.splitlines()[1:]]


def test_screen_of_ls(root: Path) -> None:
    assert on_terminal("ls", cwd=root).text == (
        "RUN       NAME         STARTED     STATUS    epochs  lr    warm  val_accuracy\n".replace(
            "epochs  ", ""
        )
        + "1c1c1c1c  dull-cat-3   2023-11-14  FINISHED  1e-1  yes            nan\n"
        + "1b1b1b1b  calm-bee-2   2023-11-14  FINISHED  0.01                0.45\n"
        + "0a0a0a0a  brave-auk-1  2023-11-14  FINISHED  0.1                  0.9\n"
    )


def test_narrow_screen_keeps_what_matters_and_says_the_rest(root: Path) -> None:
    screen = on_terminal("ls", cwd=root, columns=40)
    assert screen.width <= 40
    assert screen.text == (
        "RUN       NAME         STATUS\n"
        "1c1c1c1c  dull-cat-3   FINISHED\n"
        "1b1b1b1b  calm-bee-2   FINISHED\n"
        "0a0a0a0a  brave-auk-1  FINISHED\n"
        "no room for: STARTED, lr and 2 more\n"
    )


def test_no_colour_if_nobody_wants_it(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    make_record(store / "mlruns", status="FAILED")
    run_index(store)
    red = re.compile(r"\x1b\[31m\s*FAILED")
    for words in (("ls",), ("show", "@latest")):
        assert red.search(on_terminal(*words, cwd=store).raw)
        assert "[31m" not in on_terminal(*words, cwd=store, environ={"NO_COLOR": "1"}).raw


def test_piped_is_plain_whole_and_exact(root: Path) -> None:
    head, *lines = out(root, "ls").splitlines()
    assert head.split("\t") == [
        *("RUN", "NAME", "EXPERIMENT", "STARTED", "STATUS", "lr", "warm", "val_accuracy")
    ]
    assert [line.split("\t") for line in lines] == [
        [
            *("1c" * 16, "dull-cat-3", "digits", "2023-11-14T22:15:20.000+00:00", "FINISHED"),
            *("1e-1", "yes", "nan"),
        ],
        [
            *("1b" * 16, "calm-bee-2", "digits", "2023-11-14T22:14:20.000+00:00", "FINISHED"),
            *("0.01", "", "0.45"),
        ],
        [
            *("0a" * 16, "brave-auk-1", "digits", "2023-11-14T22:13:20.000+00:00", "FINISHED"),
            *("0.1", "", "0.9"),
        ],
    ]


def test_json_is_strict(root: Path) -> None:
    found = json.loads(out(root, "ls", "--json"), parse_constant=pytest.fail)
    assert [run["metrics"]["val_accuracy"] for run in found] == ["NaN", 0.45, 0.9]
    assert found[2] | {"params": {}} == {
        **{"run_id": "0a" * 16, "name": "brave-auk-1", "experiment": "digits", "user": "ada"},
        **{"status": "FINISHED", "started": "2023-11-14T22:13:20.000+00:00", "duration_s": 90.0},
        **{"ended": "2023-11-14T22:14:50.000+00:00", "deleted": False, "params": {}},
        **{"metrics": {"val_accuracy": 0.9}, "best": None, "verdict": None},
    }


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("val_accuracy > 0.4", ["calm-bee-2", "brave-auk-1"]),
        ("lr = 0.1", ["dull-cat-3", "brave-auk-1"]),
        ("lr != 0.1", ["calm-bee-2"]),
        ("params.lr<=0.05", ["calm-bee-2"]),
        ("metrics.val_accuracy >= 0.9", ["brave-auk-1"]),
        ("warm = YES", ["dull-cat-3"]),
        ("warm != yes", ["calm-bee-2", "brave-auk-1"]),
        ("name = 'calm-bee-2'", ["calm-bee-2"]),
        ("status = failed", []),
        ("started > 2023-11-14T22:14:00+00:00", ["dull-cat-3", "calm-bee-2"]),
        ("started > 2d", []),
        ("duration_s = 90", ["dull-cat-3", "calm-bee-2", "brave-auk-1"]),
    ],
)
def test_filter(root: Path, condition: str, expected: list[str]) -> None:
    assert names(out(root, "ls", "--filter", condition)) == expected


def test_filters_must_all_hold_and_limit_counts_what_is_left(root: Path) -> None:
    assert names(out(root, "ls", "-f", "lr = 0.1", "-f", "val_accuracy > 0")) == ["brave-auk-1"]
    assert names(out(root, "ls", "-f", "lr = 0.1", "-n", "1")) == ["dull-cat-3"]


def test_sorting_puts_what_is_missing_last_both_ways(root: Path) -> None:
    by = ("ls", "--sort", "val_accuracy")
    assert names(out(root, *by)) == ["calm-bee-2", "brave-auk-1", "dull-cat-3"]
    assert names(out(root, *by, "--reverse")) == ["brave-auk-1", "calm-bee-2", "dull-cat-3"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("ls", "-f", "val_acuracy > 1"),
            'error: no run has a field, metric or param called "val_acuracy"\n'
            "hint: known: val_accuracy\n",
        ),
        (
            ("ls", "-f", "lr"),
            'error: "lr" cannot be read: a condition is NAME, one of = != < <= > >=, VALUE\n'
            'hint: runback ls --filter "val_loss < 0.3"\n',
        ),
        (
            ("ls", "-f", "started > yesterday"),
            'error: "yesterday" cannot be read: a time is 2026-11-21, 2026-11-21T13:30 or 2d'
            ' (ago)\nhint: runback ls --filter "started > 2d"\n',
        ),
        (
            ("ls", "-f", "val_accuracy < 1 and lr > 0"),
            'error: "val_accuracy < 1 and lr > 0" cannot be read: val_accuracy is a number; several'
            ' conditions are several --filter\nhint: runback ls --filter "val_loss < 0.3"\n',
        ),
        (
            ("ls", "-f", "status = DONE"),
            'error: "status = DONE" cannot be read: a status is one of RUNNING SCHEDULED FINISHED'
            ' FAILED KILLED LOST\nhint: runback ls --filter "status = FAILED"\n',
        ),
        (
            ("best", "--metric", "val_acuracy"),
            'error: no run has a field, metric or param called "val_acuracy"\n'
            "hint: known: val_accuracy\n",
        ),
        (
            ("lss",),
            "Usage: runback [OPTIONS] COMMAND [ARGS]...\nTry 'runback --help' for help.\n\n"
            "Error: No such command 'lss'. Did you mean ls?\n",
        ),
    ],
)
def test_what_cannot_be_read_is_a_matter_of_usage(
    root: Path, words: tuple[str, ...], error: str
) -> None:
    done = call(root, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", error)


@pytest.mark.parametrize("run", ["1b", "1B1b", "calm-bee-2", "1b" * 16])
def test_a_run_has_many_names(root: Path, run: str) -> None:
    assert out(root, "show", "-q", run) == f"{'1b' * 16}\n"


def test_latest_is_the_newest(root: Path) -> None:
    assert out(root, "show", "-q", "@latest") == f"{'1c' * 16}\n"


def test_ambiguous_beginning_lists_the_candidates(root: Path) -> None:
    done = call(root, "show", "1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        'error: 2 runs have an id that begins with "1", or that name\n'
        "  1b1b1b1b1b1b  calm-bee-2\n  1c1c1c1c1c1c  dull-cat-3\n"
        "hint: more letters of the id tell them apart\n"
    )


@pytest.mark.parametrize("run", ["ff", "no such name", "%", "'; DROP TABLE runs; --"])
def test_unknown_run(root: Path, run: str) -> None:
    done = call(root, "show", run)
    assert done.returncode == 3
    assert f'no run has an id that begins with "{run}", or that name (3 runs in' in done.stderr


def test_a_slip_of_the_pen_is_answered_with_the_name(root: Path) -> None:
    assert call(root, "show", "calm-be-2").stderr.endswith("\nhint: did you mean calm-bee-2?\n")
    assert call(root, "show", "@lates").stderr.endswith("\nhint: did you mean @latest?\n")


def test_a_store_above_is_named(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    hint = f"\nhint: runback ls --store '{root}'   # there is one\n"
    assert call(root / "deep" / "er", "ls").stderr.endswith(hint)


def test_best_without_a_primary_metric_says_what_to_do(root: Path) -> None:
    done = call(root, "show", "@best")
    assert done.returncode == 3
    assert done.stderr.endswith("runback best --metric NAME finds the best run by any metric\n")


def test_best_run_at_whichever_step(root: Path) -> None:
    line = "0a0a0a0a  brave-auk-1  val_accuracy 0.9 at step 2 (maximum)\n"
    assert out(root, "best", "--metric", "val_accuracy") == line
    found = json.loads(out(root, "best", "-m", "val_accuracy", "--minimize", "--json"))
    assert (found["run"]["name"], found["value"], found["step"]) == ("dull-cat-3", 0.1, 0)


def test_best_of_a_metric_that_does_not_tell_its_goal(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    make_record(store / "mlruns", "ab" * 16, points([1.0], "odd"))
    run_index(store)
    done = call(store, "best", "--metric", "odd")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'error: is more of "odd" better, or less? no run says so, nor does its name\n'
        "hint: runback best --metric odd --maximize   # or --minimize\n"
    )


def test_show_on_a_screen(root: Path) -> None:
    screen = on_terminal("show", "brave-auk-1", cwd=root)
    lines = screen.text.splitlines()
    assert lines[0] == "0a0a0a0a  brave-auk-1  FINISHED  experiment digits"
    assert re.fullmatch(r"started 2023-11-1[45] \d\d:13:20, took 90 s, by ada", lines[1])
    assert "\n".join(lines[2:]) == (
        "\nparams\n  epochs  3\n  lr      0.1\n"
        "\nmetrics\n  val_accuracy  0.9  @2  ▁▄█\n"
        "\nrunback checkout 0a0a0a0a  its code and checkpoint, into a new folder\n"
        "runback diff 0a0a0a0a RUN  what another run did differently\n"
        "runback plot 0a0a0a0a      its curves"
    )
    assert on_terminal("show", "brave-auk-1", cwd=root, columns=40).width <= 40


def test_show_piped_and_as_json(root: Path) -> None:
    lines = [line.split("\t") for line in out(root, "show", "brave-auk-1").splitlines()]
    assert ["param", "lr", "0.1"] in lines
    assert ["metric", "val_accuracy", "0.9", "2"] in lines
    found = json.loads(out(root, "show", "brave-auk-1", "--json"))
    assert found["metrics"] == {"val_accuracy": {"value": 0.9, "step": 2}}
    assert (found["checkpoints"], found["wrong"]) == ([], "")


def test_one_line_for_a_run_whatever_it_is_called(tmp_path: Path, template: Path) -> None:
    """Names come from anywhere: they steer neither the terminal nor the columns."""
    store = make_store(tmp_path / "s", template)
    name, param = "evil\x1b[2J\nname\ttab", {"p\x07": "\x1b]0;owned\x07"}
    make_record(store / "mlruns", "ab" * 16, [], rows=rows("ab" * 16, name, param, BEGAN_MS))
    run_index(store)
    for text in (out(store, "ls", "--all"), out(store, "show", "ab"), out(store, "ls")):
        assert "\x1b" not in text
        assert "\x07" not in text
    assert len(out(store, "ls").splitlines()) == 2
    for words in (("ls", "--all"), ("show", "ab")):
        screen = on_terminal(*words, cwd=store, environ={"NO_COLOR": "1"})
        assert "\x1b[2J" not in screen.raw
        assert "\x07" not in screen.raw


def test_deleted_runs_are_apart(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    for run_id, name, params, values in RUNS:
        content = rows(run_id, name, params, BEGAN_MS)
        make_record(store / "mlruns", run_id, points(values), rows=content)
    run_index(store)
    query(store / "mlflow.db", "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name LIKE 'c%'")
    assert sorted(names(out(store, "ls"))) == ["brave-auk-1", "dull-cat-3"]
    assert names(out(store, "ls", "--deleted")) == ["calm-bee-2"]


def test_replays_are_left_out_if_asked(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    for number, (run_id, name, params, values) in enumerate(RUNS):
        content = rows(run_id, name, params, BEGAN_MS + number)
        make_record(store / "mlruns", run_id, points(values), rows=content)
    run_index(store)
    first, second, _ = (run_id for run_id, *_ in RUNS)
    sql = "INSERT INTO tags (key, value, run_uuid) VALUES ('runback.replay_of', ?, ?)"
    query(store / "mlflow.db", sql, first, second)
    assert names(out(store, "ls")) == ["dull-cat-3", "calm-bee-2", "brave-auk-1"]
    assert names(out(store, "ls", "--no-replays")) == ["dull-cat-3", "brave-auk-1"]
    assert names(out(store, "ls", "--no-replays", "--limit", "2")) == ["dull-cat-3", "brave-auk-1"]
    screen = on_terminal("ls", "--no-replays", "calm-bee-2", cwd=store)
    assert screen.text == "no such runs\n"


def test_no_runs_and_no_such_experiment(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    assert out(store, "ls") == "RUN\tNAME\tEXPERIMENT\tSTARTED\tSTATUS\n"
    assert out(store, "ls", "--json") == "[]\n"
    assert on_terminal("ls", cwd=store).text == "no runs yet\n"
    assert on_terminal("ps", cwd=store).text == "nothing runs\n"
    done = call(store, "ls", "--experiment", "digts")
    assert done.returncode == 3
    assert 'there is no experiment "digts" in' in done.stderr


@pytest.mark.parametrize("words", [("ls",), ("ps",), ("show", "x"), ("best", "--metric", "loss")])
def test_no_store_yet(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = call(tmp_path, *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        f"error: there is no mlflow.db in {tmp_path}\nhint: runback ls --"
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlruns").mkdir()
    assert "hint: runback index   # makes it" in call(tmp_path, *words).stderr


def test_database_that_is_not_mlflows(tmp_path: Path) -> None:
    query(tmp_path / "mlflow.db", "CREATE TABLE runs (x)")
    done = call(tmp_path, "ls")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        f"error: {tmp_path}/mlflow.db is not a database of MLflow 3\nhint: "
    )
    (tmp_path / "mlflow.db").write_text("no database at all" * 100)
    done = call(tmp_path, "ls")
    assert done.returncode == 3
    assert "file is not a database" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_pipe_is_quiet(root: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m runback ls | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=root, env=plain_environ(), capture_output=True, text=True
    )
    assert done.stdout.startswith("RUN\t")
    assert (done.stderr, done.returncode) in (("", 0), ("", 141))


def test_infinities_are_what_was_logged(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    found = [Point("loss", LARGEST, 1, 0, False), Point("gain", -LARGEST, 1, 0, False)]
    make_record(store / "mlruns", "ab" * 16, found)
    run_index(store)
    (run,) = json.loads(out(store, "ls", "--json"))
    assert run["metrics"] == {"gain": "-Infinity", "loss": "Infinity"}
    assert call(store, "best", "-m", "loss", "--maximize").returncode == 2  # nothing finite


def held(root: Path, run_id: str) -> subprocess.Popen[str]:
    """Start a process that records the run, as far as others can see."""
    code = (
        "import sys, time; from pathlib import Path; from runback.store import running\n"
        "h = running.hold(Path(sys.argv[1]), sys.argv[2]); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    words = [sys.executable, "-c", code, str(root), run_id]
    process = Started(words, env=plain_environ(), stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_ps_knows_who_is_alive(tmp_path: Path, template: Path) -> None:
    store = make_store(tmp_path / "s", template)
    run_id = "ab" * 16
    content = rows(run_id, "busy-bee-1", {"epochs": "10"}, int(time.time() * 1000) - 60_000)
    content["runs"][0] |= {"status": "RUNNING", "end_time": None}
    own = points([0.1, 0.2, 0.3, 0.4])
    make_record(store / "mlruns", run_id, own, rows=content, status="RUNNING")
    run_index(store)
    (found,) = json.loads(out(store, "ps", "--json"))
    assert (found["status"], found["life"]) == ("RUNNING", "away")  # another store records it
    process = held(store, run_id)
    try:
        (found,) = json.loads(out(store, "ps", "--json"))
        assert (found["status"], found["life"]) == ("RUNNING", "here")
        assert (found["epochs_done"], found["epochs"]) == (4, 10)
        assert 80 < found["left_s"] < 300
        screen = on_terminal("ps", cwd=store)
        assert re.search(r"^abababab  busy-bee-1  RUNNING .* 4/10 +\d+ (s|min)$", screen.text, re.M)
    finally:
        process.kill()
        process.communicate()
    (found,) = json.loads(out(store, "ps", "--json"))
    assert (found["status"], found["life"], found["left_s"]) == ("LOST", "lost", None)
    assert json.loads(out(store, "ls", "--json"))[0]["status"] == "LOST"


def test_a_killed_training_is_lost_and_fixed(tmp_path: Path, template: Path) -> None:
    store = training.make(tmp_path / "s", template)
    code = (
        "import mlflow, os, signal, time\n"
        "mlflow.start_run(run_name='doomed'); mlflow.log_metric('loss', 1.0, step=3)\n"
        "time.sleep(1.5); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert store.train(code).returncode == -signal.SIGKILL
    run_id = store.named("doomed")
    assert [run["status"] for run in json.loads(out(store.root, "ps", "--json"))] == ["LOST"]
    done = call(store.root, "ps", "--fix")
    assert done.returncode == 0
    assert done.stderr == f"{run_id[:8]} ended as KILLED: its process is gone\n"
    assert store.runs() == {run_id: "KILLED"}
    assert json.loads(out(store.root, "ps", "--json")) == []


def test_reading_beside_writers_sees_no_half_rows(tmp_path: Path, template: Path) -> None:
    """Sixty listings while four trainings log: each run is listed with all its params, or not."""
    store = training.make(tmp_path / "s", template)
    code = (
        "import mlflow\nfor n in range(6):\n with mlflow.start_run():\n"
        "  mlflow.log_params({f'p{k}': n for k in range(20)})\n"
        "  for s in range(10): mlflow.log_metrics({'a': s, 'b': s}, step=s)"
    )
    writers = [store.start(code) for _ in range(4)]
    try:
        for _ in range(60):
            done = call(store.root, "ls", "--json")
            assert (done.returncode, done.stderr) == (0, "")
            for run in json.loads(done.stdout):
                assert len(run["params"]) in (0, 20)
                assert run["metrics"].get("a") == run["metrics"].get("b")
    finally:
        ended = [writer.communicate(timeout=120) and writer.returncode for writer in writers]
    assert ended == [0, 0, 0, 0]
    assert len(json.loads(out(store.root, "ls", "--json"))) == 24


READS = [("ls",), ("ps",), ("show", "@latest"), ("best", "-m", "val_accuracy"), ("ls", "--json")]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_reading_imports_nothing_heavy(root: Path, words: tuple[str, ...]) -> None:
    found = loaded(root, *words)
    assert not found & {"mlflow", "numpy", "pandas", "rich", "matplotlib", "sqlalchemy"}
    assert {"click", "sqlite3"} <= found


def test_cost_of_ls_and_show_does_not_grow_with_points(tmp_path: Path, template: Path) -> None:
    """Counted in steps of SQLite's machine, of a run with 100 and one with 20,000 points."""
    store = make_store(tmp_path / "s", template)
    for run_id, count in (("a" * 32, 100), ("b" * 32, 20_000)):
        values = [float(n) for n in range(count)]
        content = rows(run_id, run_id[:3], {}, BEGAN_MS)
        make_record(store / "mlruns", run_id, points(values), rows=content)
    run_index(store)
    few, many = (work(store, run_id) for run_id in ("a" * 32, "b" * 32))
    assert many < 1.5 * few


def work(store: Path, run_id: str) -> int:
    from runback.runs.details import details
    from runback.runs.listing import Wish, select

    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    original = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*args, **kwargs)
        connection.set_progress_handler(count, 1)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        details(store, run_id)
        select(store, Wish(limit=1))
    return counted[0]


def test_hold_of_another_run_says_nothing(root: Path) -> None:
    """A hold is a lock, not a file that happens to lie there."""
    hold = running.hold(root, "ee" * 16)
    try:
        assert json.loads(out(root, "ps", "--json")) == []
        with pytest.raises(BlockingIOError), hold.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        hold.release()


def completed(root: Path, words: str) -> list[str]:
    """Return what zsh is offered for the last of the words."""
    environ = {"_RUNBACK_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from runback.cli import runback; runback(prog_name='runback')"],
        cwd=root,
        env=plain_environ(**environ),
        capture_output=True,
        text=True,
    )
    return done.stdout.split("\n")


def test_completion_offers_ids_with_their_names(root: Path) -> None:
    assert completed(root, "runback show 1") == [
        *("plain", "1c1c1c1c", "dull-cat-3", "plain", "1b1b1b1b", "calm-bee-2", "")
    ]


def test_completion_offers_options(root: Path) -> None:
    assert completed(root, "runback ls --no") == [
        *("plain", "--no-replays", "Leave out the runs that replays made.", "")
    ]
