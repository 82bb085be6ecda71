"""The container path for real: a Docker engine, the project's image, an ordinary user.

Needs an engine that answers; without one of NVIDIA's registries, a base image named by
RUNBACK_BUILD_ARGS ("--build-arg BASE=…"). The first test to run may build the image.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import REPOSITORY, copy_project
from processes import Started
from test_plugin import FIND, FOUND
from test_run_script import SHOW, SLEEPER, shown

from runback.launch import engine, image

pytestmark = pytest.mark.engine

UID = 4321  # of nobody here: without a passwd entry, inside and outside
BUILD_ARGS = shlex.split(os.environ.get("RUNBACK_BUILD_ARGS", ""))


@dataclass(frozen=True)
class Place:
    """A clone of the project that belongs to an ordinary user who may use the engine."""

    root: Path
    program: str
    home: Path

    def start(
        self, *command: str, cwd: Path | None = None, **more: object
    ) -> subprocess.Popen[str]:
        """Start ./run_script.bash COMMAND as that user."""
        socket_group = _socket_group()
        return Started(
            [str(self.root / "run_script.bash"), *command],
            cwd=cwd or self.root,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            user=UID if os.getuid() == 0 else None,
            group=UID if os.getuid() == 0 else None,
            extra_groups=socket_group if os.getuid() == 0 else None,
        )

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, cwd=cwd)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def environ(self) -> dict[str, str]:
        kept = ("DOCKER_HOST", "RUNBACK_BUILD_ARGS", "RUNBACK_ENGINE_ARGS", "LANG", "TERM")
        given = {name: os.environ[name] for name in kept if name in os.environ}
        path = f"{Path(self.program).parent}:/usr/bin:/bin"
        return {**given, "HOME": str(self.home), "PATH": path, "RUNBACK_ENGINE": "docker"}


def _socket_group() -> list[int]:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    path = Path(host.removeprefix("unix://"))
    return [path.stat().st_gid] if path.exists() else []


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    found = engine.find("docker")
    if not isinstance(found, engine.Engine):
        pytest.skip(f"needs a Docker engine that answers ({found})")
    folder = Path(tempfile.mkdtemp(prefix="runback ", dir="/tmp"))
    root = copy_project(folder / "my project", git=True)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{UID}:{UID}", str(folder)], check=True)
    made = Place(root, found.program, folder)
    done = made.run("--build")
    assert done.returncode == 0, done.stderr[-3000:]
    yield made
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def trained(place: Place) -> subprocess.CompletedProcess[str]:
    done = place.run("python", "train_mlflow.py", "--epochs", "3")
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_run_is_in_the_store_with_its_artifacts_and_commit(
    place: Place, trained: subprocess.CompletedProcess[str]
) -> None:
    connection = sqlite3.connect(place.root / "mlflow.db")
    ((run, status, uri),) = connection.execute("SELECT run_uuid, status, artifact_uri FROM runs")
    tags = dict(connection.execute("SELECT key, value FROM tags"))
    connection.close()
    assert status == "FINISHED"
    assert uri == str(place.root / "mlruns" / "1" / run / "artifacts")
    assert (Path(uri) / "accuracy.png").exists()
    head = subprocess.check_output(
        ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"], cwd=place.root, text=True
    )
    assert tags["mlflow.source.git.commit"] == head.strip()


LOGS = """
import mlflow

with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0)
"""


def test_commit_is_known_below_the_top_of_a_repository_too(place: Place) -> None:
    top = place.root.parent / "several projects"
    top.mkdir()
    part = replace(place, root=copy_project(top / "one"))
    (part.root / "fit.py").write_text(LOGS)
    (top / "another").touch()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "safe.directory=*"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=top, check=True)
    (top / "another").write_text("no part of this project\n")
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{UID}:{UID}", str(top)], check=True)
    done = part.run("python", "fit.py")
    assert done.returncode == 0, done.stderr[-3000:]
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], cwd=top, text=True).strip()
    (record,) = part.root.glob("mlruns/*/*/artifacts/runback")
    manifest = json.loads((record / "manifest.json").read_text())
    assert manifest["code"]["git"]["commit"] == head
    assert manifest["code"]["git"]["dirty_files"] == ["another"]  # as outside: all of it is seen
    assert "one/fit.py" in manifest["code"]["files"]
    connection = sqlite3.connect(part.root / "mlflow.db")
    tags = dict(connection.execute("SELECT key, value FROM tags"))
    connection.close()
    assert tags["mlflow.source.git.commit"] == head


def test_no_file_is_roots(place: Place, trained: subprocess.CompletedProcess[str]) -> None:
    owner = UID if os.getuid() == 0 else os.getuid()
    others = [path for path in place.root.parent.rglob("*") if path.lstat().st_uid != owner]
    assert others == []
    assert (place.root.parent / ".cache" / "runback" / "home").is_dir()


def test_container_and_fallback_give_the_same_bits(
    trained: subprocess.CompletedProcess[str],
) -> None:
    code = "import train; print('weights', train.train(train.configure(['--epochs', '3'])).digest)"
    command = [sys.executable, "-c", code]
    here = subprocess.check_output(command, cwd=REPOSITORY, text=True, stderr=subprocess.DEVNULL)
    weights = [re.findall(r"weights (sha256:\w{12})", out)[-1] for out in (here, trained.stdout)]
    assert weights[0] == weights[1]


def test_nothing_is_built_when_nothing_changed(
    place: Place, trained: subprocess.CompletedProcess[str]
) -> None:
    done = place.run("true")
    assert done.returncode == 0
    assert "building" not in done.stderr
    assert re.fullmatch(r"runback: docker \S+, image runback:\w{12}, no GPU \(.+\)\n", done.stderr)


def test_arguments_folder_and_status_are_kept(place: Place) -> None:
    folder = place.root / "tests folder"
    folder.mkdir(exist_ok=True)
    os.chown(folder, place.root.stat().st_uid, -1)
    odd = ["two words", "it's", '"quoted"', "$HOME", "", "a\nb", "ünïcode"]
    arguments, cwd, environ = shown(place.run("python", "-c", SHOW, *odd, cwd=folder))
    assert (arguments, cwd) == (odd, str(folder))
    assert environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{place.root}/mlflow.db"
    assert place.run("python", "-c", "raise SystemExit(42)").returncode == 42


def test_user_without_a_passwd_entry_has_a_name_and_a_home(place: Place) -> None:
    code = (
        "import getpass, os, pathlib; home = pathlib.Path.home(); (home / 'x').touch();"
        "print(os.getuid(), os.getgid(), getpass.getuser(), home)"
    )
    uid = UID if os.getuid() == 0 else os.getuid()
    done = place.run("python", "-c", code)
    home = place.root.parent / ".cache" / "runback" / "home"
    name = "uid4321" if os.getuid() == 0 else r"\w+"
    assert re.fullmatch(rf"{uid} \d+ {name} {home}\n", done.stdout), done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 42), (signal.SIGTERM, 43)])
def test_signals_reach_the_training(place: Place, number: signal.Signals, status: int) -> None:
    process = place.start("python", "-c", SLEEPER)
    assert process.stdout is not None
    assert process.stdout.readline() == "up False\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=180)
    assert (out, process.returncode) == (f"{number.name}\n", status)


def test_terminal_is_kept_and_ctrl_c_reaches_the_training(place: Place) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place.root)
        command = ["./run_script.bash", "python", "-c", SLEEPER]
        os.execve(command[0], command, _own_environ(place))
    output = b""
    while b"up" not in output:
        output += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    _, waited = os.waitpid(pid, 0)
    assert b"up True" in output
    assert os.waitstatus_to_exitcode(waited) == 42


def _own_environ(place: Place) -> dict[str, str]:
    """pty.fork cannot change the user: as whoever runs the tests, with a home of theirs."""
    home = Path(tempfile.gettempdir()) / f"runback-home-{os.getuid()}"
    home.mkdir(exist_ok=True)
    return {**place.environ(), "HOME": str(home)}


def test_runs_in_tmux_without_anybody_attached(place: Place) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    mark = Path(_own_environ(place)["HOME"]) / "tmux-out"
    mark.unlink(missing_ok=True)
    code = "import sys; sys.exit(not sys.stdout.isatty())"
    inner = f"cd {shlex.quote(str(place.root))}; ./run_script.bash python -c {shlex.quote(code)}"
    server = ("tmux", "-L", f"runback{os.getpid()}")
    whole = [*server, "new-session", "-d", f"{inner}; echo $? > {mark}"]
    subprocess.run(whole, env=_own_environ(place), check=True)
    deadline = time.monotonic() + 180
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert mark.read_text() == "0\n"


def test_several_at_a_time(place: Place) -> None:
    started = [place.start("python", "-c", f"print({n})") for n in range(4)]
    assert [process.communicate(timeout=180)[0] for process in started] == [
        "0\n",
        "1\n",
        "2\n",
        "3\n",
    ]


def test_background_job_does_not_ask_for_the_terminal(place: Place) -> None:
    """`./run_script.bash … &` in an interactive shell would be stopped by SIGTTIN."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place.root)
        line = "set -m; ./run_script.bash true & wait $!; echo ended $?"
        os.execve("/bin/bash", ["bash", "-c", line], _own_environ(place))
    output = b""
    deadline = time.monotonic() + 180
    while b"ended" not in output and time.monotonic() < deadline:
        output += os.read(terminal, 1000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert b"ended 0" in output


def test_image_holds_the_environment_and_nothing_of_the_project(place: Place) -> None:
    tag = image.tag(place.root, BUILD_ARGS)
    inspect = [place.program, "image", "inspect", tag]
    (described,) = json.loads(subprocess.check_output(inspect))
    config = described["Config"]
    assert config["Labels"]["org.runback.lock"] == image.lock_digest(place.root)
    assert config["User"] == "runback"
    command = [place.program, "run", "--rm", "--network", "none", tag, "sh", "-c"]
    find = r"find / -xdev \( -name train_mlflow.py -o -name run_script.bash \) 2>/dev/null; true"
    assert subprocess.check_output([*command, find], text=True) == ""


def test_environment_in_the_image_is_what_the_lock_says(place: Place) -> None:
    done = place.run("python", "-m", "runback", "verify", "--deep")
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"as locked: 2\d\d packages, \d{5} files\n", done.stdout)


def test_mlflow_finds_the_plugin_in_the_project(place: Place) -> None:
    """The image has nothing of the project: found by the path alone, from every folder."""
    assert place.run("python", "-c", FIND, cwd=place.root / "docker").stdout == FOUND
    elsewhere = f"cd / && exec python -c {shlex.quote(FIND)}"
    assert place.run("sh", "-c", elsewhere).stdout == FOUND


def test_container_knows_its_machine_and_its_image(place: Place) -> None:
    _, _, environ = shown(place.run("python", "-c", SHOW))
    tag = image.tag(place.root, BUILD_ARGS)
    inspect = [place.program, "image", "inspect", "--format", "{{.Id}}", tag]
    image_id = subprocess.check_output(inspect, text=True).strip()
    assert environ["RUNBACK_IMAGE_ID"] == image_id
    assert environ["RUNBACK_HOST"] == os.uname().nodename


def test_bytecode_is_compiled(place: Place) -> None:
    code = "import keras.src.models.model as m; print(__import__('os').path.exists(m.__cached__))"
    assert place.run("python", "-c", code).stdout.endswith("True\n")


def test_launcher_called_in_the_container_takes_the_environment_as_it_is(place: Place) -> None:
    done = place.run("./run_script.bash", "python", "-c", "import sys; print(sys.prefix)")
    assert done.stdout == "/opt/venv\n"
    assert "changed since" not in done.stderr


def test_ui_in_the_container_answers_on_the_hosts_localhost(place: Place) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = Started(
        [str(place.root / "run_mlflow_ui.bash"), "--port", str(port)],
        cwd=place.root,
        env=_own_environ(place),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert _answers(f"http://localhost:{port}/health")
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
    assert "Traceback" not in err


def _answers(url: str) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            time.sleep(0.5)
    return False
