"""Two machines for the tests: folders of two users, and a real sshd between them.

The server is ours, the laptop another user's where we may make one (root). ssh knows
the server by that name, from a configuration of its own.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import json
import os
import pwd
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPOSITORY
from processes import Started

from runback import ui
from runback.store.export import Reader, reading

sys.path.append(str(REPOSITORY / "pics"))
import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = ("/usr/sbin/sshd", "ssh", "ssh-keygen", "rsync")

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""
SSH = """\
Host server
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile {folder}/known_hosts
  LogLevel ERROR
"""

# What is run on a machine.

# With all that MLflow keeps of a run: figure, model, its version, data set, trace, numbers.
WHOLE = """
import mlflow, numpy
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
x = numpy.random.default_rng(0).normal(size=(60, 2)); y = (x[:, 0] > 0).astype(int)
mlflow.set_experiment("digits")
with mlflow.start_run(run_name="whole", description="all of it"):
    mlflow.log_params({"C": 1.0, "päth": "a b"})
    mlflow.log_input(mlflow.data.from_numpy(x, targets=y, name="points"), context="training")
    for step, value in enumerate([0.5, 0.7, float("nan"), float("inf"), 0.9]):
        mlflow.log_metric("accuracy", value, step=step)
    model = LogisticRegression().fit(x, y)
    logged = mlflow.sklearn.log_model(
        model, name="model", registered_model_name="points", pip_requirements=["scikit-learn"]
    )
    mlflow.log_metric("score", model.score(x, y), model_id=logged.model_id)
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    axes.plot([0.5, 0.7, 0.9], marker="o")
    axes.set(title="accuracy", xlabel="epoch", xticks=[0, 1, 2])
    mlflow.log_figure(figure, "accuracy.png")
    with mlflow.start_span("fit") as span:
        span.set_inputs({"rows": 60})
    mlflow.flush_trace_async_logging()
"""
# EXPERIMENT NAME…: a run of each name.
SMALL = """
import sys, mlflow
mlflow.set_experiment(sys.argv[1])
for name in sys.argv[2:]:
    with mlflow.start_run(run_name=name):
        mlflow.log_param("rate", 0.1)
        mlflow.set_tag("team", "vision")
        for step in range(3):
            mlflow.log_metric("accuracy", 0.5 + step / 10, step=step)
        mlflow.log_text("kept" * (1_000_000 if name == "heavy" else 1), "note.txt")
"""
# A run that goes on until there is a file `end RUN`.
LONG = """
import os, time, mlflow
mlflow.set_experiment("long")
with mlflow.start_run(run_name="long") as run:
    print(run.info.run_id, flush=True)
    mlflow.log_metric("loss", 1.0, step=0)
    while not os.path.exists(f"end {run.info.run_id}"):
        time.sleep(0.1)
    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_metric("late", 1.0)
    mlflow.set_tag("last words", "done")
"""
OPEN = """
import json, sys, mlflow, numpy
from mlflow import MlflowClient
run, model = sys.argv[1:]
print(json.dumps({
    "artifacts": sorted(f.path for f in mlflow.artifacts.list_artifacts(run_id=run)),
    "logged": [f.path for f in mlflow.artifacts.list_artifacts(f"models:/{model}")],
    "text": mlflow.artifacts.load_dict(f"runs:/{run}/runback/manifest.json")["run_id"],
    "predicted": [
        mlflow.pyfunc.load_model(uri).predict(numpy.array([[3.0, 0.0], [-3.0, 0.0]])).tolist()
        for uri in (f"models:/{model}", f"runs:/{run}/model", "models:/points/1")
    ],
}))
"""
# Do what a person does in the UI: METHOD ARGUMENT… of the client, as JSON.
EDIT = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient()
for method, *arguments in json.loads(sys.argv[1]):
    getattr(client, method)(*arguments)
"""


@dataclass(frozen=True)
class Machine:
    """A folder that a store is in, and how its user runs a command there."""

    folder: Path
    python: str
    environ: dict[str, str]
    user: dict[str, Any] = field(default_factory=dict)

    @property
    def mlruns(self) -> Path:
        return self.folder / "mlruns"

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        given = {"cwd": self.folder, "env": self.environ, **self.user, **options}
        return Started(words, **given)

    def run(self, *words: str, timeout_s: float = 300) -> str:
        """Run a command as the machine's user; return what it prints."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.start(*words, stdin=subprocess.DEVNULL, **pipes)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        assert process.returncode == 0, f"{shlex.join(words[:3])}: {out[-2000:]}{err[-2000:]}"
        return str(out)

    def script(self, text: str, *arguments: str) -> str:
        return self.run(self.python, "-c", text, *arguments)

    def index(self) -> dict[str, Any]:
        """Index, and once more: there is nothing left to do. Return what the first reports."""
        first, second = (
            json.loads(self.run(self.python, "-m", "runback", "index", "--json")) for _ in range(2)
        )
        steps = ("adopted", "refreshed", "ended", "completed", "edited", "moved")
        assert not {step: second[step] for step in steps if second[step]}
        return dict(first)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with reading(self.folder / "mlflow.db") as connection:
            return connection.execute(query, values).fetchall()

    def runs(self) -> dict[str, str]:
        """Return the ids of the runs that are listed as active, by name."""
        found = self.sql("SELECT name, run_uuid FROM runs WHERE lifecycle_stage = 'active'")
        return dict(found)

    def tags(self, run_id: str) -> dict[str, str]:
        return dict(self.sql("SELECT key, value FROM tags WHERE run_uuid = ?", run_id))

    def record(self, run_id: str) -> Path:
        (found,) = self.mlruns.glob(f"*/{run_id}/artifacts/runback")
        return found

    def edits(self) -> list[str]:
        """Return the names of all files of edits in this machine's folders."""
        return sorted({path.name for path in self.mlruns.glob("*/*/artifacts/runback/edits-*")})

    def store(self) -> str:
        return str(json.loads((self.folder / ".runback/store.json").read_text())["id"])

    def state(self, run_id: str) -> dict[str, Any]:
        """Return all rows and points of a run, as they would be on any machine."""
        with reading(self.folder / "mlflow.db") as connection:
            reader = Reader(connection)
            rows = {name: plain(self, found) for name, found in reader.rows(run_id).items()}
            return {**rows, "points": reader.points(run_id)[0]}

    def tables(self) -> dict[str, list[str]]:
        """Return the content of MLflow's tables, as it would be on any machine."""
        with reading(self.folder / "mlflow.db") as connection:
            connection.row_factory = sqlite3.Row
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {
                name: plain(self, map(dict, connection.execute(f"SELECT * FROM {name}")))
                for (name,) in names.fetchall()
                if not name.startswith(("runback_", "sqlite_"))
            }


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return by table the rows that only one of the two has."""
    found = {
        name: tuple(
            [row for row in one.get(name, ()) if row not in other.get(name, ())]
            for one, other in ((ours, theirs), (theirs, ours))
        )
        for name in ours.keys() | theirs.keys()
    }
    return {name: (some[0], some[1]) for name, some in found.items() if any(some)}


def owner(machine: Machine, *paths: Path) -> None:
    """Give these to the machine's user."""
    for path in paths:
        os.chown(path, machine.user.get("user", -1), machine.user.get("group", -1))


def plain(machine: Machine, rows: Any) -> list[str]:
    """Return rows without what is each machine's own: experiment ids, and the way to mlruns/."""
    texts = []
    for row in rows:
        own = {"experiment_id", "dataset_uuid"}
        if "creation_time" in row and "experiment_id" in row:  # an experiment
            own |= {"artifact_location", "creation_time", "last_update_time"}
            if row["name"] == "Default":
                continue  # made on each machine
        texts.append(json.dumps({k: v for k, v in row.items() if k not in own}))
    here = json.dumps(str(machine.mlruns))[1:-1]
    # A trace without files has a place all the same: that of its experiment here.
    traces = re.compile(r"MLRUNS/\d+/traces/")
    return sorted(traces.sub("MLRUNS/traces/", text.replace(here, "MLRUNS")) for text in texts)


@dataclass(frozen=True)
class Lab:
    """Where machines can be made. is_other: whether a laptop's user is not a server's."""

    base: Path
    us: Machine
    them: Machine
    is_other: bool

    def server(self, name: str) -> Machine:
        return self._machine(self.us, name, "gpu-server")

    def laptop(self, name: str) -> Machine:
        return self._machine(self.them, name, "laptop")

    def _machine(self, like: Machine, name: str, host: str) -> Machine:
        folder = self.base / f"{name} à côté" / "my projéct"
        folder.mkdir(parents=True)
        owner(like, folder.parent, folder)
        folder.parent.chmod(0o700)  # a machine does not see what is on another one
        more = {
            "RUNBACK_HOST": host,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": f"{folder}/mlruns",
        }
        return replace(like, folder=folder, environ={**like.environ, **more})


def pull(laptop: Machine, server: Machine, *options: str, what: str = "mlruns/") -> None:
    """Copy from the server, on the laptop: as its user would do it."""
    laptop.run("rsync", "-a", *options, f"server:{server.folder}/{what}", what)


def push(laptop: Machine, server: Machine, *options: str, what: str = "mlruns/") -> None:
    laptop.run("rsync", "-a", *options, what, f"server:{server.folder}/{what}")


def wait_for(what: Callable[[], object], deadline_s: float = 180) -> None:
    end = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """Make a folder that everybody can enter, another user, and a sshd; remove them again."""
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runback-sync-")))
        base.chmod(0o755)
        us = Machine(base, sys.executable, _environ(getpass.getuser()))
        them = stack.enter_context(_another_user(us)) if os.getuid() == 0 else us
        config = stack.enter_context(_sshd(base / "ssh", them))
        shell = {"RSYNC_RSH": f"ssh -F {config}"}
        them = replace(them, environ={**them.environ, **shell})
        yield Lab(base, us, them, is_other=bool(them.user))


def _environ(user: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TERM") if name in os.environ}
    return {
        **kept,
        "LANG": "C.UTF-8",
        "USER": user,
        "PYTHONPATH": str(REPOSITORY),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@contextlib.contextmanager
def _another_user(us: Machine) -> Iterator[Machine]:
    name = f"runback{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    try:
        entry = pwd.getpwnam(name)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        home = us.folder / "home"
        home.mkdir()
        os.chown(home, entry.pw_uid, entry.pw_gid)
        environ = {**_environ(name), "HOME": str(home)}
        yield _with_python(replace(us, environ=environ, user=user))
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def _with_python(machine: Machine) -> Machine:
    """Return the machine with a Python that its user can run: ours may lie in /root."""
    spec = importlib.util.find_spec("mlflow")
    site = Path((spec and spec.origin) or "").parents[1]
    more = {"PYTHONPATH": f"{REPOSITORY}:{site}", "PYTHONDONTWRITEBYTECODE": "1"}
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    for found in (machine, replace(machine, python=system, environ={**machine.environ, **more})):
        with contextlib.suppress(OSError, AssertionError):
            found.run(found.python, "-c", "import numpy, sqlalchemy, runback")
            return found
    pytest.skip(f"another user can run neither {machine.python} nor {system}")


@contextlib.contextmanager
def _sshd(folder: Path, client: Machine) -> Iterator[Path]:
    """Run a sshd for this user on 127.0.0.1; yield the client's configuration."""
    folder.mkdir()
    for name in ("host_key", "key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    owner(client, folder, folder / "key")
    port = make.unused_port()
    given = {"port": port, "folder": folder, "user": getpass.getuser()}
    (folder / "sshd_config").write_text(SSHD.format(**given))
    (folder / "config").write_text(SSH.format(**given))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("w") as log:
        words = [PROGRAMS[0], "-D", "-e", "-f", str(folder / "sshd_config")]
        daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=log)
    try:
        wait_for(lambda: not ui.is_free(port) or daemon.poll() is not None)
        assert daemon.poll() is None, (folder / "log").read_text()
        yield folder / "config"
    finally:
        daemon.terminate()
        daemon.wait()
