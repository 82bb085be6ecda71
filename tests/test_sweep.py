"""sweep.py: what is searched, trials that are never lost, and runs that can be replayed alone."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import REPOSITORY, plain_environ
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from processes import Started

import train
from runback import group
from runback.errors import ParamsError
from runback.sweep import report, space
from runback.sweep.design import Design
from runback.sweep.errors import (
    MetricMissing,
    StudyDiffers,
    StudyGoesOn,
    StudyUnreadable,
    TrialsFail,
)
from runback.sweep.process import Process
from runback.sweep.pruning import VARIABLE, name_of
from runback.sweep.space import Choices, Range
from runback.sweep.study import Study, opened
from runback.sweep.trial import COMPLETE, FAILED, PRUNED, Trial
from runback.sweep.workers import Workers

RATE, SIZES = Range(0.001, 0.1, log=True), Choices((2, 4, 8))


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ParamsError) as raised:
        space.read(train.Config, file)
    return raised.value.problems


def test_space_of_the_project_fits_its_training() -> None:
    found = space.read(train.Config, REPOSITORY / "params.yaml")
    assert {name: str(varied) for name, varied in found.items()} == {
        "learning_rate": "0.0003 to 0.03, log",
        "filters": "8, 16, 32",
        "dropout": "0.0 to 0.5 by 0.05",
    }


def test_range_of_whole_numbers_and_of_text_that_is_one(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        "search: {learning_rate: {low: 1e-4, high: 1e-1}, epochs: {low: 2, high: 8, step: 3}}"
    )
    found = space.read(train.Config, file)
    assert found == {"epochs": Range(2, 8, step=3), "learning_rate": Range(0.0001, 0.1)}
    assert (
        str(found["epochs"].distribution()) == "IntDistribution(high=8, log=False, low=2, step=3)"
    )


def test_steps_are_numbers_that_people_write() -> None:
    assert Range(0.0, 0.5, step=0.05).value(0.35000000000000003) == 0.35
    assert Range(0.0, 0.5).value(0.35000000000000003) == 0.35000000000000003


WHOLE = "a whole number from 1 to 1024"
NAMES = "digits, mnist, fashion_mnist, cifar10"
FORMS = "{low: …, high: …} with log: true or step: …, or {choices: […]}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "section 'search' (params.yaml) varies nothing"),
        (
            "{filtres: {choices: [2]}}",
            "filtres (params.yaml): no such parameter; did you mean filters?",
        ),
        (
            "{filters: {lo: 1, high: 3}}",
            "search.filters.lo (params.yaml): no such word; did you mean low?",
        ),
        ("{filters: {low: 4}}", "search.filters (params.yaml): has no high"),
        (
            "{filters: {low: 4, high: 2}}",
            "search.filters.low = 4 (params.yaml): must be at most high, 2",
        ),
        (
            "{filters: {low: 2.5, high: 4}}",
            f"search.filters.low = 2.5 (params.yaml): must be {WHOLE}",
        ),
        (
            "{filters: {low: 2, high: 9, step: 3}}",
            "search.filters.step = 3 (params.yaml): must be one that leads from 2 to 9",
        ),
        (
            "{filters: {low: 2, high: 9, step: 0.5}}",
            "search.filters.step = 0.5 (params.yaml): must be a whole number above 0",
        ),
        (
            "{filters: {low: 2, high: 9, log: yes please}}",
            "search.filters.log = 'yes please' (params.yaml): must be true or false",
        ),
        (
            "{filters: {choices: []}}",
            "search.filters.choices = [] (params.yaml): must be a list of values",
        ),
        (
            "{filters: {choices: [2, 2]}}",
            "search.filters.choices = [2, 2] (params.yaml): "
            "must be a list in which each value is once",
        ),
        (
            "{filters: {choices: [2, 0]}}",
            f"search.filters.choices = 0 (params.yaml): must be {WHOLE}",
        ),
        (
            "{filters: {choices: [2], low: 1}}",
            "search.filters (params.yaml): has choices, and low too",
        ),
        (
            "{dropout: {low: 0, high: 0.5, log: true}}",
            "search.dropout.low = 0.0 (params.yaml): must be above 0 with log: true",
        ),
        (
            "{dropout: {low: 0.1, high: 0.5, log: true, step: 0.1}}",
            "search.dropout (params.yaml): has log: true, and a step too",
        ),
        (
            "{dropout: {low: 0, high: 1}}",
            "search.dropout.high = 1 (params.yaml): must be a number from 0 and below 1",
        ),
        (
            "{dataset: {choices: [imagenet]}}",
            f"search.dataset.choices = 'imagenet' (params.yaml): must be one of {NAMES}",
        ),
        (
            "{dataset: {low: a}}",
            f"search.dataset = {{'low': 'a'}} (params.yaml): must be {{choices: […]}} of {NAMES}",
        ),
        ("{filters: 3}", f"search.filters = 3 (params.yaml): must be {FORMS}"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_rule(
    tmp_path: Path, text: str, problem: str
) -> None:
    assert problems(tmp_path, f"search: {text}") == [problem]


def test_params_without_a_search(tmp_path: Path) -> None:
    problem = "params.yaml has no section 'search' with names and values"
    assert problems(tmp_path, "train: {}") == [problem]


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = "search: {filters: {low: 4, high: 2}, dropout: {low: 2}, seed: {choices: [x]}}"
    assert len(problems(tmp_path, text)) == 3


def design(
    direction: str = "maximize",
    name: str = "tried",
    pruner: BasePruner | None = None,
    seed: int = 0,
) -> Design:
    varied: dict[str, Range | Choices] = {"rate": RATE, "size": SIZES}
    return Design(
        name, "score", direction, seed, varied, {"epochs": 3}, TPESampler_of, pruner or NopPruner()
    )


def TPESampler_of(seed: int) -> TPESampler:
    return TPESampler(seed=seed, n_startup_trials=3)


def score(trial: Trial) -> float:
    return float(trial.values["size"]) - float(trial.values["rate"])


def finish(study: Study, count: int) -> None:
    while trial := study.claim(count):
        study.report(trial, 0, score(trial))
        study.end(trial, COMPLETE, score(trial))


def test_study_gives_exactly_as_many_trials_as_are_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path, design()) as study:
        finish(study, 4)
        assert [result.place for result in study.results()] == [0, 1, 2, 3]
    with opened(tmp_path, design()) as study:
        finish(study, 6)
        results = study.results()
        assert [result.place for result in results] == [0, 1, 2, 3, 4, 5]
        best = study.best()
        assert best
        assert best.value == max(result.value or 0 for result in results)
        assert study.claim(6) is None


def test_study_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    with opened(tmp_path / "whole", design()) as study:
        finish(study, 7)
        whole = study.results()
    with opened(tmp_path / "killed", design()) as study:
        finish(study, 4)
        lost = study.claim(7)
        assert lost
        study.report(lost, 0, 0.0)
    with opened(tmp_path / "killed", design()) as study:  # nobody has that trial any more
        again = study.claim(7)
        assert again
        assert (again.place, again.values) == (lost.place, lost.values)
        study.report(again, 0, score(again))
        study.end(again, COMPLETE, score(again))
        finish(study, 7)
        assert study.results() == whole
        assert len(study.optuna.trials) == 8


def test_kill_while_a_lost_trial_is_queued_again_queues_it_once(tmp_path: Path) -> None:
    from optuna.trial import TrialState

    with opened(tmp_path, design()) as study:
        lost = study.claim(1)
        assert lost
        # What a kill between the two steps of queueing it again leaves.
        attributes = {"trial": 0, "again": lost.asked.number, "kills": 0}
        study.optuna.enqueue_trial(lost.asked.params, user_attrs=attributes)
    with opened(tmp_path, design()) as study:
        states = [trial.state for trial in study.optuna.trials]
        assert states == [TrialState.FAIL, TrialState.WAITING]
        finish(study, 1)
        assert [result.values for result in study.results()] == [lost.values]


def test_trial_that_somebody_queued_with_optuna_is_one_of_them(tmp_path: Path) -> None:
    with opened(tmp_path, design()) as study:
        study.optuna.enqueue_trial({"rate": 0.01, "size": 4})
        finish(study, 2)
        assert study.results()[0].values == {"rate": 0.01, "size": 4}
        assert len(study.results()) == 2


def test_study_is_one_process_s(tmp_path: Path) -> None:
    with (
        opened(tmp_path, design()),
        pytest.raises(StudyGoesOn, match='study "tried" goes on in another process'),
        opened(tmp_path, design()),
    ):
        pass


def test_study_that_was_begun_otherwise_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, design()):
        pass
    with pytest.raises(StudyDiffers) as raised, opened(tmp_path, design("minimize", seed=3)):
        pass
    assert str(raised.value).splitlines()[1:] == [
        "  sweep.metric: score maximize then, score minimize now",
        "  sweep.seed: 0 then, 3 now",
    ]
    assert raised.value.hint.startswith("--study tried-2 ")


def test_file_that_is_no_study_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database")
    with pytest.raises(StudyUnreadable, match="file is not a database"), opened(tmp_path, design()):
        pass


def test_ranking_pictures_and_lines(tmp_path: Path) -> None:
    with opened(tmp_path, design("minimize")) as study:
        lost = study.claim(5)
        assert lost
        study.give_back(lost, 1)
        for state, value in ((COMPLETE, 2.0), (PRUNED, 3.0), (COMPLETE, 1.0), (FAILED, 0.5)):
            trial = study.claim(5)
            assert trial
            study.report(trial, 0, value)
            study.end(trial, state, value if state == COMPLETE else None, "ValueError: no")
        nan = study.claim(5)
        assert nan
        assert study.end(nan, COMPLETE, float("nan")).why == "its metric is nan"
        ranked = [(result.place, result.state) for result in study.ranked()]
        assert ranked == [(2, COMPLETE), (0, COMPLETE), (1, PRUNED), (3, FAILED), (4, FAILED)]
        lines = report.as_csv(study).splitlines()
        assert lines[0] == "trial,state,score,epochs,rate,size"
        assert [line.split(",")[:4] for line in lines[1:]] == [
            ["0", "complete", "2.0", "1"],
            ["1", "pruned", "3.0", "1"],
            ["2", "complete", "1.0", "1"],
            ["3", "failed", "", "1"],
            ["4", "failed", "", "0"],
        ]
        names = [name for name, _ in report.pictures(study)]
        assert names == ["history", "epochs", "importances", "parallel", "slices"]


# A training without a framework; what it is told to do stands in files, by its place.
TRIAL = """
import os, signal, sys, time
from pathlib import Path
from runback.sweep.pruning import Pruning
here, place, size = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
with (here / "begun").open("a") as file:
    file.write(f"{place} {os.getpid()}\\n")
pruning = Pruning()
times = (here / "begun").read_text().split("\\n").count
if (here / "stay").exists():
    signal.signal(signal.SIGTERM, lambda *_: (here / "told").touch())
    (here / "stays").touch()
for epoch in range(3):
    if (here / f"hold-{place}").exists():
        time.sleep(60)
    if (here / f"kill-{place}").exists():
        left = int((here / f"kill-{place}").read_text())
        if left:
            (here / f"kill-{place}").write_text(str(left - 1))
            os.kill(os.getpid(), 9)
    if (here / f"fail-{place}").exists():
        raise SystemExit("error: no memory left\\nhint: buy some")
    metrics = {"score": size * (epoch + 1)} if epoch != 1 else {"loss": 1}
    if pruning.is_due(epoch, {"other": 1.0} if (here / "other").exists() else metrics):
        break
if (here / "fork").exists():
    if (child := os.fork()) == 0:
        time.sleep(60)
    (here / "fork").write_text(str(child))
"""


@contextmanager
def workers(
    folder: Path, how: Design, count: int, told: list[str] | None = None
) -> Iterator[tuple[Study, Workers]]:
    """Give workers on a study in `folder` whose trials run TRIAL."""
    environ = plain_environ()

    def begin(trial: Trial) -> Process:
        words = [sys.executable, "-S", "-c", TRIAL, str(folder), str(trial.place)]
        return Process([*words, str(trial.values["size"])], folder, environ, folder / "log")

    say: Callable[[str], None] = ([] if told is None else told).append
    with opened(folder, how) as study, Workers(study, count, begin, say) as found:
        yield study, found


def begun(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "begun").read_text().splitlines()]


def test_several_workers_run_each_trial_once(tmp_path: Path) -> None:
    with workers(tmp_path, design(), 4) as (study, at_work):
        ended = [result.place for result in at_work.results(24)]
        assert sorted(ended) == list(range(24))
        assert sorted(begun(tmp_path)) == list(range(24))
        for result in study.results():
            assert (result.state, result.epochs) == (COMPLETE, 2)  # one epoch had no score
            assert result.value == 3 * result.values["size"]


def test_trial_is_told_to_end_where_others_were_better(tmp_path: Path) -> None:
    how = design(pruner=MedianPruner(n_startup_trials=3))
    with workers(tmp_path, how, 1) as (study, at_work):
        for size in (8, 8, 8, 2):
            study.optuna.enqueue_trial({"rate": 0.01, "size": size})
        states = [(result.state, result.epochs, result.value) for result in at_work.results(4)]
    assert states == [(COMPLETE, 2, 24.0)] * 3 + [(PRUNED, 1, 2.0)]


def test_trial_whose_process_is_killed_is_run_again(tmp_path: Path) -> None:
    (tmp_path / "kill-1").write_text("2")
    (tmp_path / "kill-2").write_text("9")
    told: list[str] = []
    with workers(tmp_path, design(), 2, told) as (study, at_work):
        results = sorted(at_work.results(4), key=lambda result: result.place)
        assert study.results() == results
    assert [result.state for result in results] == [COMPLETE, COMPLETE, FAILED, COMPLETE]
    assert results[2].why == "killed by signal 9"
    assert sorted(begun(tmp_path)) == [0, 1, 1, 1, 2, 2, 2, 3]
    assert sorted(told) == [
        f"trial {n} was killed by signal 9: it is run again" for n in (1, 1, 2, 2)
    ]


def test_one_that_fails_counts_and_three_in_a_row_end_the_search(tmp_path: Path) -> None:
    for place in (1, 3, 4, 5):
        (tmp_path / f"fail-{place}").touch()
    with workers(tmp_path, design(), 1) as (study, at_work):
        with pytest.raises(TrialsFail, match=r"3 trials in a row.*\n  error: no memory left"):
            list(at_work.results(9))
        states = [result.state for result in study.results()]
    assert states == [COMPLETE, FAILED, COMPLETE, FAILED, FAILED, FAILED]


def test_metric_that_no_epoch_has_is_named_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with workers(tmp_path, design(), 1) as (study, at_work):
        with pytest.raises(MetricMissing, match='reports no metric "score", but other') as raised:
            list(at_work.results(2))
        assert raised.value.hint == "--metric other"
        assert study.results() == []


def test_training_ends_when_its_search_dies_with_something_of_it_unread(tmp_path: Path) -> None:
    """The other end is then reset (AF_UNIX): seen as ConnectionResetError, not as an end."""
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-S", "-c", TRIAL, str(tmp_path), "0", "1"]
    with theirs:
        number = theirs.fileno()
        environ = plain_environ(**{VARIABLE: name_of(number)})
        training = Started(
            words, env=environ, cwd=tmp_path, pass_fds=[number], stderr=subprocess.PIPE
        )
    with ours:
        ours.sendall(b'{"name": "a", "metric": "score"}\n')
        ours.recv(1, socket.MSG_PEEK)  # of the first epoch, to which nobody answers
    _, said = training.communicate(timeout=180)
    assert (training.returncode, said) == (-signal.SIGTERM, "")


def test_training_in_a_thread_ends_when_its_search_dies(tmp_path: Path) -> None:
    """The signal is the main thread's, which then waits for the thread that waits for an answer."""
    ours, theirs = socket.socketpair()
    code = f"""
import signal, sys, threading
signal.signal(signal.SIGTERM, lambda *_: sys.exit("told"))
thread = threading.Thread(target=exec, args=[{TRIAL!r}, {{"__name__": "trial"}}])
thread.start()
thread.join()
"""
    words = [sys.executable, "-S", "-c", code, str(tmp_path), "0", "1"]
    with theirs:
        environ = plain_environ(**{VARIABLE: name_of(theirs.fileno())})
        training = Started(
            words, env=environ, cwd=tmp_path, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE
        )
    with ours:
        ours.sendall(b'{"name": "a", "metric": "score"}\n')
        ours.recv(65_536)
    _, said = training.communicate(timeout=180)
    assert (training.returncode, said) == (1, "told\n")


FORKED = """
import os, sys
from runback.sweep.pruning import Pruning
pruning = Pruning()
if (child := os.fork()) == 0:
    os._exit(10 + pruning.is_due(0, {"score": 1.0}))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
ANOTHER = """
import socket, sys
from runback.sweep.pruning import Pruning
ours, theirs = socket.socketpair()
ours.settimeout(0.1)
pruning = Pruning()
pruning.is_due(0, {"score": 1.0})
try:
    ours.recv(1)
except TimeoutError:
    sys.exit(12)
"""


@pytest.mark.parametrize(("code", "status"), [(FORKED, 10), (ANOTHER, 12)])
def test_only_the_process_that_a_search_began_speaks_to_it(
    tmp_path: Path, code: str, status: int
) -> None:
    """One that it has forked, and one that it started, in which the number is another socket's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        is_its = code == FORKED
        number = theirs.fileno() if is_its else 4  # what socketpair() gives there
        name = name_of(number) if is_its else f"4:{os.fstat(theirs.fileno()).st_ino}"
        ours.sendall(b'{"name": "a", "metric": "score"}\n')
        words = [sys.executable, "-S", "-c", code]
        environ = plain_environ(**{VARIABLE: name})
        done = subprocess.run(
            words, env=environ, pass_fds=[number] if is_its else [], timeout=180, cwd=tmp_path
        )
    assert done.returncode == status


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_whoever_stops_the_search_ends_its_processes_and_keeps_their_trials(tmp_path: Path) -> None:
    for place in (2, 3):
        (tmp_path / f"hold-{place}").touch()
    with contextlib.suppress(KeyboardInterrupt), workers(tmp_path, design(), 2) as (_, at_work):
        ended = at_work.results(6)
        assert {next(ended).place, next(ended).place} == {0, 1}
        wait_for(lambda: {2, 3} <= set(begun(tmp_path)))
        raise KeyboardInterrupt
    pids = [int(line.split()[1]) for line in (tmp_path / "begun").read_text().splitlines()]
    assert not any(map(is_alive, pids))
    for place in (2, 3):
        (tmp_path / f"hold-{place}").unlink()
    with workers(tmp_path, design(), 2) as (study, at_work):
        assert sorted(result.place for result in at_work.results(6)) == [2, 3, 4, 5]
        assert [result.place for result in study.results()] == list(range(6))
    assert sorted(begun(tmp_path)) == [0, 1, 2, 2, 3, 3, 4, 5]


def test_another_ctrl_c_ends_what_does_not_end_by_itself(tmp_path: Path) -> None:
    for name in ("hold-0", "stay"):
        (tmp_path / name).touch()

    def press() -> None:
        for name in ("stays", "told"):
            wait_for((tmp_path / name).exists)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    keys = threading.Thread(target=press)
    keys.start()
    try:
        with contextlib.suppress(KeyboardInterrupt), workers(tmp_path, design(), 1) as (_, at_work):
            list(at_work.results(1))
    finally:
        keys.join()
        signal.signal(signal.SIGINT, before)
    pid = int((tmp_path / "begun").read_text().split()[1])
    assert not is_alive(pid)


def test_what_a_trial_leaves_behind_is_ended_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It has the line to the search open, as a forked loader of data has."""
    (tmp_path / "fork").touch()
    with workers(tmp_path, design(), 1) as (_, at_work):
        assert [result.state for result in at_work.results(1)] == [COMPLETE]
    left = int((tmp_path / "fork").read_text())
    wait_for(lambda: not is_alive(left))


def test_last_words_are_heard_though_children_keep_the_line_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be said between a look at the line and one at the process."""
    code = """
import os, sys, time
from pathlib import Path
line = int(os.environ["RUNBACK_SWEEP"].partition(":")[0])
if os.fork() == 0:
    time.sleep(60)
while not Path("go").exists():
    time.sleep(0.01)
os.write(line, b'{"run": "a"}\\n')
"""
    words = [sys.executable, "-S", "-c", code]
    with Process(words, tmp_path, plain_environ(), tmp_path / "log") as process:

        def look_late(child: subprocess.Popen[bytes], within_s: float | None) -> bool:
            (tmp_path / "go").touch()
            return group.is_gone(child, None)

        monkeypatch.setattr("runback.sweep.process.is_gone", look_late)
        assert list(process.messages()) == [{"run": "a"}]
        assert process.wait() == 0


def test_process_that_cannot_be_started_leaves_no_line_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Process(["/nowhere"], tmp_path, {}, tmp_path / "log")
    gc.collect()  # an open socket would be warned of, which fails the test


def wait_for(is_so: Callable[[], bool], timeout_s: float = 100) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.05)
