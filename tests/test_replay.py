"""runback replay: a run again from its record, the verdict, and all that can be in the way."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
from records import query
from sessions import pattern, steady
from training import Store, make

from runback.record import files

TRAIN = """\
import os, random, sys
from pathlib import Path

import mlflow

import model

random.seed(int(sys.argv[1]))
mlflow.set_experiment(os.environ.get("GROUP", "digits"))
with mlflow.start_run(run_name=sys.argv[2]):
    mlflow.log_params({"seed": sys.argv[1], "place": os.getcwd()})
    numbers = [float(line) for line in Path("data/numbers.txt").read_text().split()]
    weight = 0.0
    for step in range(5):
        weight += model.RATE * (random.choice(numbers) - weight)
        mlflow.log_metric("weight", weight, step=step)
        mlflow.log_metric("epoch_time_s", random.SystemRandom().random(), step=step)
    Path("weights.txt").write_text(repr(weight))
    mlflow.log_artifact("weights.txt")
"""
PYPROJECT = '[tool.runback]\ndata = ["data"]\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Store:
    """Return a project in git whose data git ignores, with a run called `first`."""
    root = tmp_path_factory.mktemp("replay") / "my project"
    made = make(root, template)
    for name, text in (
        ("train.py", TRAIN),
        ("model.py", "RATE = 0.5\n"),
        ("pyproject.toml", PYPROJECT),
        (".gitignore", "data/\nmlruns/\nmlflow.db*\nreplays/\n.runback/\nlocal.py\n"),
        ("data/numbers.txt", "1.0\n2.5\n4.25\n8.0\n"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
        subprocess.run([*git, *words], cwd=root, check=True)
    record(made, "first")
    return made


def record(store: Store, name: str, code: str = "train.py", **environ: str) -> str:
    """Train; return the run's id."""
    process = store._start(code, "7", name, **environ)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return original(store, name)


def original(store: Store, name: str) -> str:
    """Return the id of the run of this name that is no replay."""
    sql = "SELECT run_uuid FROM runs WHERE name = ? AND run_uuid NOT IN"
    sql += " (SELECT run_uuid FROM tags WHERE key = 'runback.replay_of')"
    ((run_id,),) = query(store.database, sql, name)
    return str(run_id)


def replay(store: Store, *words: str) -> subprocess.CompletedProcess[str]:
    return store.runback("replay", *words)


def plain(text: str) -> str:
    """Return a screen without what differs each time."""
    text = re.sub(r"\b[0-9a-f]{8}\b", "ID", text)
    text = re.sub(r"(?m)(?<=^  ledger       ).*", "LEDGER", text)
    text = re.sub(r"sha256:[0-9a-f]+…?", "DIGEST", text)
    return re.sub(r"in [\d.]+ s as", "in TIME as", text)


def as_object(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): files.digest(path)["digest"]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_identical(store: Store) -> None:
    run_id = original(store, "first")
    before = tree(store.record(run_id).parent)
    done = replay(store, "first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert plain(done.stdout) == IDENTICAL
    after = tree(store.record(run_id).parent)
    badges = {name for name in after if name.startswith("runback/verdict-")}
    assert {name: after[name] for name in after.keys() - badges} == before
    assert len(badges) == 1
    tags = dict(query(store.database, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))
    assert tags["runback.verdict"] == "identical"
    sql = "SELECT run_uuid FROM tags WHERE key = 'runback.replay_of' AND value = ?"
    assert query(store.database, sql, run_id) == [(tags["runback.replayed_as"],)]
    assert [path.name for path in (store.root / "replays").iterdir() if path.is_dir()] == []
    report = json.loads((store.record(tags["runback.replayed_as"]) / "replay.json").read_text())
    assert report["verdict"] == "identical"
    listed = json.loads(store.runback("ls", "--json").stdout)
    assert {run["run_id"]: run["verdict"] for run in listed}[run_id] == "identical"


IDENTICAL = """\
identical  ID first, in TIME as ID
  params       place, seed the same
  metrics      weight the same, 5 points, to the bit
  metrics      set aside: epoch_time_s (a timing)
  data         data the same
  ledger       LEDGER
  artifacts    weights.txt the same
"""


def test_edited_since_is_restored(store: Store) -> None:
    """The record's code is run, not the project's; the project stays as it is."""
    run_id = original(store, "first")
    path = store.root / "model.py"
    path.write_text("RATE = 0.25\n")
    try:
        done = replay(store, run_id[:8], "--json")
        assert path.read_text() == "RATE = 0.25\n"
    finally:
        path.write_text("RATE = 0.5\n")
    assert done.returncode == 0, done.stderr
    drift = next(d for d in as_object(done)["drifts"] if d["name"] == "model.py")
    assert (drift["kind"], drift["restored"]) == ("code", True)


def test_changed_data_is_the_cause(store: Store) -> None:
    path = store.root / "data" / "numbers.txt"
    before = path.read_text()
    path.write_text("1.0\n2.5\n4.25\n8.5\n")
    try:
        done = replay(store, "first")
    finally:
        path.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    shown = plain(done.stdout).replace(str(store.root), "ROOT")
    assert re.fullmatch(pattern(DIFFERENT.splitlines()), steady(shown)), shown
    folder = store.root / "replays" / f"first-{original(store, 'first')[:8]}"
    assert (folder / "code" / "model.py").read_text() == "RATE = 0.5\n"


DIFFERENT = """\
different  ID first, in TIME as ID
  params       place, seed the same
  metrics      weight: different from step 2, 5.15625 → 5.40625 (by 0.25 at most; 3 of 5)
  metrics      set aside: epoch_time_s (a timing)
  data         data: different, DIGEST → DIGEST
  ledger       LEDGER
  artifacts    weights.txt: different, 2.0390625 → 2.1015625 (first in line 1)
  drift        data: DIGEST (1 file, 17 bytes) → DIGEST (1 file, 17 bytes)
  drift        seed hash seed: drawn at the start → drawn at the start, another
  cause 1      the data data is not what was recorded: DIGEST (1 file…
  cause 2      train.py:17 takes random bytes of the system, which nothing seeds: …
  cause 3      Python draws its hash seed anew at each start (PYTHONHASHSEED was not set)
  next         runback replay ID --explain   # settles it by experiment
  folder       ROOT/replays/first-ID
"""


def test_variables_are_as_they_were(store: Store) -> None:
    """What the code reads from its environment is recorded, and given back."""
    run_id = record(store, "grouped", GROUP="others")
    done = replay(store, "grouped", "-q", "--set", "GROUP=again")
    assert (done.returncode, done.stdout) == (0, "identical\n"), done.stderr
    assert replay(store, run_id, "-q").stdout == "identical\n"
    sql = "SELECT e.name FROM runs r JOIN experiments e USING (experiment_id) JOIN tags t"
    sql += " USING (run_uuid) WHERE t.key = 'runback.replay_of' AND t.value = ? ORDER BY start_time"
    assert query(store.database, sql, run_id) == [("again",), ("others",)]


UNSEEDED = """\
import random
import mlflow
with mlflow.start_run(run_name="unseeded"):
    for step in range(3):
        value = 1.0 if step == 0 else random.random()
        mlflow.log_metric("loss", value, step=step)
"""


def test_explained_as_its_own_fault(store: Store) -> None:
    (store.root / "unseeded.py").write_text(UNSEEDED)
    record(store, "unseeded", "unseeded.py")
    done = replay(store, "unseeded", "--explain", "--json")
    assert done.returncode == 1, done.stderr
    told = as_object(done)
    explained = told["explained"]
    assert explained["is_deterministic"] is False
    suspects = {(s["path"], s["line"]) for s in explained["suspects"]}
    assert ("unseeded.py", 5) in suspects
    (loss,) = (f for f in told["findings"] if f["name"] == "loss")
    assert (loss["status"], loss["step"], loss["differing"], loss["count"]) == (
        "different",
        1,
        2,
        3,
    )
    assert loss["ulps"] > 0


def test_dry_run_writes_nothing(store: Store) -> None:
    before = sorted(store.root.rglob("*"))
    done = replay(store, "first", "--dry-run")
    assert done.returncode == 0, done.stderr
    text = plain(done.stdout).replace(str(store.root), "ROOT")
    text = text.replace(quote(sys.executable), "PYTHON")
    assert text == WOULD
    assert [p for p in sorted(store.root.rglob("*")) if "-wal" not in p.name] == [
        p for p in before if "-wal" not in p.name
    ]


WOULD = """\
runback replay ID first would
  run          PYTHON train.py 7 first
  in           ROOT/replays/first-ID
  code         4 files
  environment  the one that runs this: it has the recorded packages
  data         data: ROOT/data
  drift        none: everything that was looked at is as recorded
"""


FRAGILE = """\
import sys, time
from pathlib import Path
import mlflow
with mlflow.start_run(run_name=sys.argv[2]):
    mlflow.log_metric("loss", 0.5, step=0)
    print("reading", flush=True)
    wait = Path("data/wait.txt")
    time.sleep(float(wait.read_text()) if wait.exists() else 0)
    Path("data/input.txt").read_text()
"""


def test_crashed_then_mended(store: Store) -> None:
    """The folder of the attempt is named; the same command begins anew."""
    (store.root / "fragile.py").write_text(FRAGILE)
    needed = store.root / "data" / "input.txt"
    needed.write_text("x")
    run_id = record(store, "fragile", "fragile.py")
    needed.unlink()
    done = replay(store, "fragile")
    assert (done.returncode, done.stdout) == (3, "")
    assert "ended as FAILED, with status 1" in done.stderr
    assert "No such file or directory: 'data/input.txt'" in done.stderr.splitlines()[-3]
    assert f"replays/fragile-{run_id[:8]}" in done.stderr
    assert (store.root / "replays" / f"fragile-{run_id[:8]}" / "code" / "fragile.py").exists()
    needed.write_text("x")
    assert replay(store, "fragile", "-q").stdout == "identical\n"


def test_time_limit_and_interrupt(store: Store) -> None:
    run_id = original(store, "fragile")
    wait = store.root / "data" / "wait.txt"
    wait.write_text("1000")
    try:
        done = replay(store, "fragile", "--timeout", "6")
        assert done.returncode == 3, done.stderr
        assert "was ended after 6 s, its time limit" in done.stderr
        process = store._start("-m", "runback", "replay", "fragile")
        assert process.stderr is not None
        for line in process.stderr:
            if line == "reading\n":
                break
        second = replay(store, "fragile")
        assert second.returncode == 3
        assert f"a replay of run {run_id[:8]} is at work in" in second.stderr
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
        assert process.returncode == 130, err
        assert err.splitlines()[-2].startswith("error: interrupted; the original is as it was")
    finally:
        wait.unlink()
        (store.root / "data" / "input.txt").unlink()
    sql = "SELECT status FROM runs WHERE name = 'fragile' ORDER BY start_time DESC LIMIT 1"
    assert query(store.database, sql) == [("FAILED",)]  # MLflow's word for Ctrl-C in a `with`


def test_runs_that_cannot_be_replayed(store: Store) -> None:
    """Refused before anything is run, each with its reason."""
    done = replay(store, "nothing-of-that-name")
    assert (done.returncode, "no run has an id" in done.stderr) == (3, True)
    run_id = original(store, "first")
    path = store.record(run_id) / files.MANIFEST
    whole = path.read_text()
    for change, reason in (
        ({"recorded_by": "index"}, "its record was made afterwards (index)"),
        (
            {"command": {"argv": ["python", "train.py"], "notebook": True}},
            "it was run in a notebook",
        ),
        ({"command": {"argv": []}}, "its record has no command"),
        ({"command": {"argv": ["python", "***"], "redacted": ["--password"]}}, "had secrets"),
        ({"command": {"argv": ["python"], "environ": {"WORLD_SIZE": "4"}}}, "one of 4 processes"),
        ({"code": None}, "no code in its record"),
    ):
        path.write_text(json.dumps({**json.loads(whole), **change}))
        done = replay(store, run_id)
        path.write_text(whole)
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert reason in done.stderr
    metrics = store.record(run_id) / files.METRICS
    recorded = metrics.read_text()
    metrics.write_text(recorded.replace("5.15625", "5.15626"))
    done = replay(store, run_id)
    metrics.write_text(recorded)
    assert done.returncode == 3
    assert "metrics.jsonl: differs from its digest" in done.stderr


def test_data_that_is_gone(store: Store) -> None:
    (store.root / "data").rename(store.root / "elsewhere")
    try:
        done = replay(store, "first")
        assert done.returncode == 3
        assert f"data: was at {store.root}/data, " in done.stderr
        assert "sha256:" in done.stderr
        again = replay(store, "first", "-q", "--data", f"data={store.root}/elsewhere")
        assert again.stdout == "identical\n", again.stderr
    finally:
        (store.root / "elsewhere").rename(store.root / "data")


def test_another_machine_is_said_before_it_is_run(store: Store) -> None:
    """With other sums on another processor, nothing is run, and nothing is called different."""
    run_id = original(store, "first")
    path = store.record(run_id) / files.MANIFEST
    whole = json.loads(path.read_text())
    sums = {"numpy.matmul": "sha256:0000000000000000"}
    other = {
        **whole,
        "machine": {**whole["machine"], "cpu": {"model": "Another 9000", "flags": ["avx512f"]}},
        "at_end": {**whole["at_end"], "numerics": sums},
    }
    path.write_text(json.dumps(other))
    try:
        done = replay(store, run_id)
        within = replay(store, run_id, "-q", "--tolerance", "1e-6")
    finally:
        path.write_text(json.dumps(whole))
    assert done.returncode == 1
    assert done.stdout.startswith(f"not comparable  {run_id[:8]} first; nothing was run\n")
    assert "Another 9000" in done.stdout
    assert "numpy.matmul come out otherwise here" in done.stdout
    assert "replaying" not in done.stderr
    assert (within.returncode, within.stdout) == (0, "identical\n"), within.stderr


def test_tolerance_is_for_the_asking(store: Store) -> None:
    (store.root / "noisy.py").write_text(
        "import random, mlflow\nwith mlflow.start_run(run_name='noisy'):\n"
        "    mlflow.log_metric('loss', 1 + random.random() / 1e9, step=0)\n"
    )
    record(store, "noisy", "noisy.py")
    done = replay(store, "noisy", "--tolerance", "1e-6")
    assert done.returncode == 0
    assert done.stdout.startswith("within tolerance")
    assert replay(store, "noisy", "-q", "--tolerance", "1e-12").returncode == 1
    assert replay(store, "noisy", "-q", "--ignore", "lo*").stdout == "not comparable\n"


def test_all_of_an_experiment(store: Store) -> None:
    """A table at the end, and no replay is replayed."""
    done = replay(store, "--all", "--experiment", "others")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split("\t") == ["RUN", "NAME", "VERDICT", "REPLAY", "TOOK", "WHY"]
    assert lines[1].split("\t")[:3] == [original(store, "grouped"), "grouped", "identical"]
    assert lines[2:] == ["1 of 1 identical"]


def test_a_strangers_record_is_announced(store: Store, tmp_path: Path, template: Path) -> None:
    """Rsynced to another machine: its code is run because the user said so, and said to be."""
    other = make(tmp_path / "laptop", template)
    subprocess.run(["rsync", "-a", f"{store.root}/mlruns/", other.root / "mlruns/"], check=True)
    other.index()
    shutil.copytree(store.root / "data", other.root / "data")
    done = other.runback("replay", original(store, "first"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its code is run now" in done.stderr.splitlines()[0]
    assert done.stdout.startswith("identical")


def test_reading_from_stdin_is_said(store: Store) -> None:
    code = "import sys, mlflow\nwith mlflow.start_run(run_name='asks'):\n"
    code += "    mlflow.log_metric('loss', 0.5)\n    print(input('which? '))\n"
    (store.root / "asks.py").write_text(code)
    words = (sys.executable, "asks.py")
    subprocess.run(
        words, cwd=store.root, env=store.environ(), input="this\n", text=True, check=True
    )
    done = replay(store, "asks")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("hint: it reads from stdin"), done.stderr
