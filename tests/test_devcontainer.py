"""The devcontainer: what its JSON promises, its JupyterLab, and the real command line's work."""

from __future__ import annotations

import json
import os
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
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from runback.launch import container, engine, inside
from runback.launch.engine import Engine
from runback.ui import DEFAULT_PORT, is_free

JUPYTER_PORT = 8888
WORKSPACE = "${localWorkspaceFolder}"
CALLER = 1234  # who starts the devcontainer where the tests run as root
SECRET = re.compile(
    r"(?i)\b(?:password|secret|(?:\w+[._])?token)\b\W{0,3}[=:]\W{0,3}\w|[0-9a-f]{32}"
)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """Return .devcontainer.json, which keeps to plain JSON."""
    return dict(json.loads((REPOSITORY / ".devcontainer.json").read_text()))


def test_image_is_that_of_the_launcher(config: dict[str, Any]) -> None:
    assert config["build"] == {"dockerfile": "docker/Dockerfile", "context": "."}


def test_project_lies_at_the_path_that_it_has_on_the_host(config: dict[str, Any]) -> None:
    assert config["workspaceFolder"] == WORKSPACE
    assert config["workspaceMount"] == f"type=bind,source={WORKSPACE},target={WORKSPACE}"


def test_user_is_that_of_the_image_with_the_callers_uid(config: dict[str, Any]) -> None:
    dockerfile = (REPOSITORY / "docker" / "Dockerfile").read_text()
    assert f"\nUSER {config['remoteUser']}\n" in dockerfile
    assert config["updateRemoteUserUID"] is True


@pytest.mark.parametrize("root", ["/home/ada/my project", "/srv/digits"])
def test_variables_are_those_of_the_launcher(config: dict[str, Any], root: str) -> None:
    values = {
        name: value.replace(WORKSPACE, root) for name, value in config["containerEnv"].items()
    }
    assert values == inside.variables(Path(root), {})


def test_gpu_is_used_where_there_is_one(config: dict[str, Any]) -> None:
    assert config["hostRequirements"] == {"gpu": "optional"}


def test_shared_memory_is_that_of_the_launcher(config: dict[str, Any], tmp_path: Path) -> None:
    caller = container.Caller(1, 1, "ada", tmp_path, tmp_path, stdin=False, terminal=False)
    docker = Engine("docker", "docker", "27", rootless=False)
    words = container.run_command(docker, "i", tmp_path, caller, {}, False, [], ["true"])
    at = words.index("--shm-size")
    assert config["runArgs"] == words[at : at + 2]


def test_both_ports_are_forwarded_under_a_name(config: dict[str, Any]) -> None:
    assert config["forwardPorts"] == [DEFAULT_PORT, JUPYTER_PORT]
    labels = {port: words["label"] for port, words in config["portsAttributes"].items()}
    assert labels == {"5000": "MLflow UI", "8888": "JupyterLab"}


def test_editor_runs_python_and_notebooks_of_the_image(config: dict[str, Any]) -> None:
    vscode = config["customizations"]["vscode"]
    assert {"ms-python.python", "ms-toolsai.jupyter"} <= set(vscode["extensions"])
    dockerfile = (REPOSITORY / "docker" / "Dockerfile").read_text()
    interpreter = vscode["settings"]["python.defaultInterpreterPath"]
    assert f"VIRTUAL_ENV={Path(interpreter).parents[1]}" in dockerfile


def test_jupyter_is_started_and_its_address_shown(config: dict[str, Any]) -> None:
    for moment in ("postStartCommand", "postAttachCommand"):
        assert os.access(REPOSITORY / config[moment], os.X_OK)


def test_no_token_is_in_the_repository() -> None:
    for name in (".devcontainer.json", "docker/jupyter.bash"):
        assert not SECRET.findall((REPOSITORY / name).read_text())


@pytest.mark.parametrize(
    "text",
    [
        '"JUPYTER_TOKEN": "local"',
        "jupyter lab --IdentityProvider.token=local",
        "jupyter lab --ServerApp.password='argon2:x'",
        "http://127.0.0.1:8888/?token=c4769178360e6865b5ccd017b64238e6",
    ],
)
def test_token_in_the_repository_would_be_found(text: str) -> None:
    assert SECRET.findall(text)


# docker/jupyter.bash with a real JupyterLab, outside of a container.


@dataclass(frozen=True)
class Lab:
    """docker/jupyter.bash for a user whose home is empty."""

    home: Path
    port: int

    def start(self) -> subprocess.CompletedProcess[str]:
        """Run the script, which returns when the server answers."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [str(REPOSITORY / "docker" / "jupyter.bash"), str(self.port)],
            env={"PATH": path, "HOME": str(self.home), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def pids(self) -> list[int]:
        files = self.home.glob(".local/share/jupyter/runtime/jpserver-*.json")
        return [json.loads(file.read_text())["pid"] for file in files]

    def kill(self) -> None:
        """End the servers as the end of their container would: without a word."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        deadline_s = time.monotonic() + 10
        while not is_free(self.port) and time.monotonic() < deadline_s:
            time.sleep(0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    for command in ("flock", "setsid"):
        if not shutil.which(command):
            pytest.skip(f"needs the {command} command (util-linux)")
    home = tmp_path_factory.mktemp("home")
    (home / ".jupyter").mkdir()
    # As root, which some tests run as, Jupyter wants to be asked twice.
    allowed = "c.ServerApp.allow_root = True\n"
    (home / ".jupyter" / "jupyter_server_config.py").write_text(allowed)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    lab = Lab(home, port)
    yield lab
    lab.kill()


def addresses(text: str) -> list[str]:
    return re.findall(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]{48}", text)


def status(url: str, token: str = "") -> int:
    """Return the HTTP status of the server's list of files."""
    base = url.partition("?")[0]
    asked = urllib.request.Request(f"{base}api/contents")
    if token:
        asked.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(asked, timeout=180) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_lab_starts_once_and_opens_with_its_token_alone(lab: Lab) -> None:
    first, second = lab.start(), lab.start()
    assert (first.returncode, first.stderr) == (0, "")
    assert second.stdout == first.stdout
    (url,) = addresses(first.stdout)
    assert len(lab.pids()) == 1
    token = url.partition("token=")[2]
    assert [status(url), status(url, "0" * 48), status(url, token)] == [403, 403, 200]


def test_lab_listens_on_127_0_0_1_alone(lab: Lab) -> None:
    assert lab.start().returncode == 0
    assert not is_free(lab.port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", lab.port), timeout=5)


def test_lab_that_was_killed_starts_again_with_another_token(lab: Lab) -> None:
    before = addresses(lab.start().stdout)
    lab.kill()
    after = addresses(lab.start().stdout)
    assert len(after) == 1
    assert after != before


def test_port_that_is_taken_is_an_error_and_no_second_port(lab: Lab) -> None:
    lab.kill()
    with socket.create_server(("127.0.0.1", lab.port)):
        done = lab.start()
    assert (done.returncode, done.stdout) == (3, "")
    assert f"port {lab.port} is not available" in done.stderr


# The real command line (npm install @devcontainers/cli) on a real engine.

KERNEL = """
import json, sys, urllib.request, websocket

base, token = sys.argv[1].split("?token=")
headers = {"Authorization": "token " + token}
asked = urllib.request.Request(base + "api/kernels", data=b"{}", headers=headers)
with urllib.request.urlopen(asked) as answer:
    kernel = json.load(answer)["id"]
channels = base.replace("http", "ws") + "api/kernels/" + kernel + "/channels"
socket = websocket.create_connection(channels, header=headers, timeout=120)
head = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "1"}
message = {"header": head, "parent_header": {}, "metadata": {}, "channel": "shell"}
message["content"] = {"code": sys.argv[2], "silent": False, "allow_stdin": False}
socket.send(json.dumps(message))
state = ""
while state != "idle":
    reply = json.loads(socket.recv())
    if reply["parent_header"].get("msg_id") == "1":
        state = reply["content"].get("execution_state", "")
        if reply["content"].get("name") == "stdout":
            print(reply["content"]["text"], end="")
        if reply["msg_type"] == "error":
            sys.exit("\\n".join(reply["content"]["traceback"]))
"""

UI = """
import socket, subprocess, sys, time, urllib.request

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = str(probe.getsockname()[1])
ui = subprocess.Popen(["./run_mlflow_ui.bash", "--port", port], stdout=2)
while ui.poll() is None:
    try:
        with urllib.request.urlopen("http://127.0.0.1:" + port + "/health") as answer:
            print(answer.status)
        break
    except OSError:
        time.sleep(0.2)
ui.terminate()
"""

DOCKER = """\
#!/bin/sh
# The build that gives `runback` the caller's uid takes no build.options.
case "$1 $3" in "build "*updateUID.Dockerfile*) shift; set -- build {options} "$@";; esac
exec {program} "$@"
"""


@dataclass(frozen=True)
class Devcontainer:
    """The real command line on a copy of the project.

    command: what comes before each verb's own words. who: arguments of subprocess.run
    that make the caller no root. log: what `up` said.
    """

    root: Path
    docker: str
    program: tuple[str, ...]
    options: tuple[str, ...]
    environ: dict[str, str]
    who: dict[str, Any]
    log: list[str] = field(default_factory=list)

    def call(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.program, verb, *self.options, *words],
            env=self.environ,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3600,
            **self.who,
        )

    def up(self) -> None:
        """Build, start, run the commands of .devcontainer.json; keep what they said."""
        done = self.call("up")
        assert done.returncode == 0, done.stdout + done.stderr
        self.log[:] = [done.stderr, done.stdout]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a terminal of the editor would; it must succeed."""
        done = self.call("exec", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def engine(self, *words: str) -> str:
        done = subprocess.run([self.docker, *words], capture_output=True, text=True)
        return done.stdout.strip()

    def ids(self) -> list[str]:
        label = f"label=devcontainer.local_folder={self.root}"
        return self.engine("ps", "--all", "--quiet", "--filter", label).split()

    def remove(self) -> None:
        """Remove the container and the names of its images, whose layers others share."""
        for found in self.ids():
            image = self.engine("inspect", "--format", "{{.Config.Image}}", found)
            self.engine("rm", "--force", found)
            self.engine("rmi", "--no-prune", image, image.removesuffix("-uid"))


@pytest.fixture(scope="module")
def devcontainer(
    config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Devcontainer]:
    program, found = _command(), _engine()
    folder = _folder(tmp_path_factory)
    made = _prepare(folder, config, program, found)
    try:
        made.up()
        yield made
    finally:
        made.remove()
        assert made.ids() == []
        if os.getuid() == 0:
            shutil.rmtree(folder)


def _command() -> str:
    program = shutil.which("devcontainer")
    if program is None:
        pytest.skip("needs the devcontainer command: npm install --global @devcontainers/cli")
    return program


def _engine() -> Engine:
    found = engine.find("docker")
    if not isinstance(found, Engine):
        pytest.skip(f"needs a Docker engine that answers ({found})")
    if found.rootless:
        pytest.skip("needs a Docker engine that is not rootless: that one has no uid to update")
    shared = container.uses_host_network(_words("RUNBACK_ENGINE_ARGS"))
    if shared and not is_free(JUPYTER_PORT):
        pytest.skip(f"needs port {JUPYTER_PORT}: the container is on this machine's network")
    return found


def _words(name: str) -> list[str]:
    return shlex.split(os.environ.get(name, ""))


def _folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the caller may enter: pytest's are closed to all but root."""
    if os.getuid() != 0:
        return factory.mktemp("devcontainer")
    return Path(tempfile.mkdtemp(prefix="devcontainer-"))


def _prepare(folder: Path, config: dict[str, Any], program: str, found: Engine) -> Devcontainer:
    """Clone the project as it is now; translate the launcher's variables for the command line."""
    root, tools = folder / "my project", folder / "bin"
    _clone(root)
    tools.mkdir()
    build_args, build_options = _split(_words("RUNBACK_BUILD_ARGS"))
    build = {**config["build"], "args": build_args, "options": build_options}
    run_args = [*config["runArgs"], *_words("RUNBACK_ENGINE_ARGS")]
    override = folder / "override.json"
    override.write_text(json.dumps({**config, "build": build, "runArgs": run_args}))
    docker = shlex.quote(found.program)
    _script(tools / "docker", DOCKER.format(options=shlex.join(build_options), program=docker))
    environ, who = _caller(folder)
    options = ["--docker-path", tools / "docker", "--workspace-folder", root]
    options += ["--override-config", override]
    return Devcontainer(root, found.program, (program,), tuple(map(str, options)), environ, who)


def _clone(root: Path) -> None:
    """Clone the repository, then bring the copy up to files that are not committed yet."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(root)], check=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).exists():
            shutil.copy2(REPOSITORY / name, root / name)


def _split(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the build arguments among the words by name, and the other words."""
    named, others, rest = dict[str, str](), list[str](), iter(words)
    for word in rest:
        if word == "--build-arg":
            name, _, value = next(rest).partition("=")
            named[name] = value
        else:
            others.append(word)
    return named, others


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _caller(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return variables and uid of who calls; root would have no uid to give to `runback`.

    updateRemoteUserUID passes over a uid that has a name in the image, as root's does:
    then `runback` stays 1000. So where the tests run as root, a user without a name
    here calls, who may talk to the engine, and owns the copy.
    """
    # docker 20.10, which Debian 12 has, builds with BuildKit only when told to.
    environ = {**os.environ, "DOCKER_BUILDKIT": "1", "TMPDIR": str(folder)}
    if os.getuid() != 0:
        return environ, {}
    _script(
        folder / "bin" / "id",
        '#!/bin/sh\n[ "$*" = "-u -n" ] && exec echo ada\nexec /usr/bin/id "$@"\n',
    )
    for path in (folder, *folder.rglob("*")):
        os.chown(path, CALLER, CALLER, follow_symlinks=False)
    environ |= {"HOME": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{environ['PATH']}"}
    return environ, {"user": CALLER, "group": CALLER, "extra_groups": _engine_groups()}


def _engine_groups() -> list[int]:
    scheme, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    return [Path(path).stat().st_gid] if scheme == "unix" else []


def url_of(devcontainer: Devcontainer) -> str:
    """Return the address that `up` has shown; it shows one, at its start and when attached."""
    (url,) = set(addresses(devcontainer.log[0]))
    return url


@pytest.mark.engine
def test_training_is_tracked_without_anything_else(devcontainer: Devcontainer) -> None:
    root = devcontainer.root
    assert not (root / "mlflow.db").exists()
    done = devcontainer.run("python", "train_mlflow.py", "--epochs", "1")
    assert "val_accuracy" in done.stdout
    with sqlite3.connect(root / "mlflow.db") as store:
        runs = store.execute("SELECT status, artifact_uri FROM runs").fetchall()
        commit = store.execute("SELECT value FROM tags WHERE key = 'mlflow.source.git.commit'")
        recorded = commit.fetchone()
    store.close()
    ((state, artifacts),) = runs
    assert (state, artifacts.startswith(f"{root}/mlruns/")) == ("FINISHED", True)
    assert (Path(artifacts) / "accuracy.png").exists()
    head = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    assert recorded == (subprocess.check_output(head, text=True).strip(),)


@pytest.mark.engine
def test_launcher_runs_the_command_right_here(devcontainer: Devcontainer) -> None:
    forget_store(devcontainer.root)
    code = "import os, sys; print(sys.prefix, os.environ['MLFLOW_TRACKING_URI'])"
    done = devcontainer.run("./run_script.bash", "python", "-c", code)
    assert done.stdout == f"/opt/venv sqlite:///{devcontainer.root}/mlflow.db\n"
    assert "building" not in done.stderr
    assert (devcontainer.root / "mlflow.db").exists()


def forget_store(root: Path) -> None:
    """Delete the copy's database, as one that was never used here."""
    for file in root.glob("mlflow.db*"):
        file.unlink()


@pytest.mark.engine
def test_ui_answers_in_here(devcontainer: Devcontainer) -> None:
    forget_store(devcontainer.root)
    assert devcontainer.run("python", "-c", UI).stdout == "200\n"


@pytest.mark.engine
def test_kernel_of_the_running_jupyterlab_runs_code(devcontainer: Devcontainer) -> None:
    code = "import os, sys, mlflow; print(sys.prefix, os.getcwd(), mlflow.get_tracking_uri())"
    done = devcontainer.run("python", "-c", KERNEL, url_of(devcontainer), code)
    root = devcontainer.root
    assert done.stdout == f"/opt/venv {root} sqlite:///{root}/mlflow.db\n"


@pytest.mark.engine
def test_notebook_runs(devcontainer: Devcontainer) -> None:
    cell: dict[str, object] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    cells = [{**cell, "source": "import train\nprint(len(train.__doc__) > 0)"}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    code = f"open('probe.ipynb', 'w').write({json.dumps(notebook)!r})"
    devcontainer.run("python", "-c", code)
    devcontainer.run("jupyter", "execute", "--inplace", "probe.ipynb")
    written = json.loads((devcontainer.root / "probe.ipynb").read_text())
    assert written["cells"][0]["outputs"][0]["text"] in ("True\n", ["True\n"])


@pytest.mark.engine
def test_jupyterlab_opens_with_the_token_alone(devcontainer: Devcontainer) -> None:
    """From inside: the port is the container's own unless it shares the host's network."""
    base, token = url_of(devcontainer).split("?token=")
    code = (
        "import sys, urllib.error, urllib.request as r\n"
        "for token in sys.argv[2:]:\n"
        "    asked = r.Request(sys.argv[1] + 'api/contents', headers={'Authorization': token})\n"
        "    try: print(r.urlopen(asked).status)\n"
        "    except urllib.error.HTTPError as error: print(error.code)\n"
    )
    words = ["", "token " + "0" * 48, f"token {token}"]
    assert devcontainer.run("python", "-c", code, base, *words).stdout.split() == [
        "403",
        "403",
        "200",
    ]


@pytest.mark.engine
def test_jupyterlab_listens_on_127_0_0_1_alone(devcontainer: Devcontainer) -> None:
    code = (
        "import socket, sys\n"
        "for host in ('127.0.0.1', '127.0.0.2'):\n"
        f"    print(socket.socket().connect_ex((host, {JUPYTER_PORT})) == 0)\n"
    )
    assert devcontainer.run("python", "-c", code).stdout.split() == ["True", "False"]


@pytest.mark.engine
def test_attaching_again_starts_no_second_jupyterlab(devcontainer: Devcontainer) -> None:
    before = url_of(devcontainer)
    devcontainer.up()
    assert url_of(devcontainer) == before


@pytest.mark.engine
def test_container_that_was_stopped_starts_jupyterlab_anew(devcontainer: Devcontainer) -> None:
    before = url_of(devcontainer)
    devcontainer.engine("stop", *devcontainer.ids())
    devcontainer.up()
    assert url_of(devcontainer) != before


@pytest.mark.engine
def test_everything_belongs_to_the_caller(devcontainer: Devcontainer) -> None:
    devcontainer.run("touch", "made-inside")
    owner = (devcontainer.root / "params.yaml").stat()
    assert owner.st_uid == (CALLER if os.getuid() == 0 else os.getuid())
    strangers = [
        path
        for path in devcontainer.root.rglob("*")
        if (path.lstat().st_uid, path.lstat().st_gid) != (owner.st_uid, owner.st_gid)
    ]
    assert strangers == []
