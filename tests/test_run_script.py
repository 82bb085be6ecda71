"""run_script.bash as its user meets it: through bash, with and without an engine."""

from __future__ import annotations

import ast
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FakeEngine, Project, tools, write_stamp
from processes import Started

from runback.launch import kind, venv

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
NO_ENGINE = "runback: no container (docker or podman: not installed); running in .venv, no GPU\n"

gpu_less = pytest.mark.skipif(
    Path("/dev/nvidiactl").exists(), reason="the screens are those of a machine without a GPU"
)


def shown(
    done: subprocess.CompletedProcess[str],
) -> tuple[list[str], str, dict[str, str]]:
    """Return arguments, working directory and variables as SHOW saw them."""
    assert done.returncode == 0, done.stderr
    arguments, cwd, environ = json.loads(done.stdout)
    return arguments, cwd, environ


@gpu_less
def test_without_an_engine_it_says_so_in_one_line_and_runs_the_command(project: Project) -> None:
    done = project.run("python", "-c", "print('trained')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained\n", NO_ENGINE)


def test_arguments_arrive_as_they_were_given(project: Project) -> None:
    odd = ["two words", "it's", '"quoted"', "$HOME", "*", "", "--help", "a\nb", "ünïcode", "\\"]
    arguments, _, _ = shown(project.run("python", "-c", SHOW, *odd))
    assert arguments == odd


def test_working_directory_is_kept_and_the_store_is_the_projects(project: Project) -> None:
    folder = project.root / "sub folder"
    folder.mkdir()
    _, cwd, environ = shown(project.run("python", "-c", SHOW, cwd=folder))
    assert cwd == str(folder)
    assert environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{project.root}/mlflow.db"
    assert environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] == f"{project.root}/mlruns"
    assert environ["PYTHONPATH"].split(":")[0] == str(project.root)


def test_what_the_user_has_set_goes_before_our_defaults(project: Project) -> None:
    done = project.run(
        *("python", "-c", SHOW), MLFLOW_TRACKING_URI="http://server:5000", PYTHONHASHSEED="7"
    )
    _, _, environ = shown(done)
    assert environ["MLFLOW_TRACKING_URI"] == "http://server:5000"
    assert environ["PYTHONHASHSEED"] == "7"


def test_command_runs_in_the_projects_environment(project: Project) -> None:
    done = project.run("python", "-c", "import sys; print(sys.prefix)")
    assert done.stdout == f"{project.root / '.venv'}\n"


@pytest.mark.parametrize("status", [0, 1, 3, 42, 255])
def test_exit_status_is_passed_through(project: Project, status: int) -> None:
    assert project.run("python", "-c", f"raise SystemExit({status})").returncode == status


def test_unknown_command_is_named_and_ends_as_in_a_shell(project: Project) -> None:
    done = project.run("trian.py")
    assert done.returncode == 127
    assert done.stderr.endswith('error: there is no command "trian.py" in the environment\n')


def test_folder_as_command_is_refused(project: Project) -> None:
    done = project.run("./docker")
    assert done.returncode == 126
    assert 'error: cannot run "./docker": ' in done.stderr


def test_no_command_prints_the_usage(project: Project) -> None:
    done = project.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ./run_script.bash COMMAND")


def test_help_goes_to_stdout(project: Project) -> None:
    done = project.run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "RUNBACK_ENGINE " in done.stdout


def test_unknown_option_is_named(project: Project) -> None:
    done = project.run("--gpu", "python")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such option: --gpu\n")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"RUNBACK_ENGINE": "docker"},
            "error: docker was asked for and cannot be used: not installed\n",
        ),
        (
            {"RUNBACK_ENGINE": "container"},
            "error: docker or podman was asked for and cannot be used: not installed\n",
        ),
        (
            {"RUNBACK_ENGINE": "dokcer"},
            "error: RUNBACK_ENGINE=dokcer: it can be auto, container, docker, podman, venv\n",
        ),
        ({"RUNBACK_ENGINE": "venv", "RUNBACK_GPU": "yes"}, "error: RUNBACK_GPU=yes: it can be "),
    ],
)
def test_a_wish_that_cannot_be_met_is_an_error(
    project: Project, environ: dict[str, str], message: str
) -> None:
    done = project.run("true", cwd=None, **environ)
    assert done.returncode == 3
    assert done.stderr.startswith(message)


@gpu_less
@pytest.mark.parametrize("engine", ["auto", "venv"])
def test_required_gpu_that_is_not_there_is_an_error(project: Project, engine: str) -> None:
    done = project.run("true", RUNBACK_GPU="required", RUNBACK_ENGINE=engine)
    assert done.returncode == 3
    assert done.stderr == (
        "error: RUNBACK_GPU=required, and there is none: no NVIDIA driver is loaded here\n"
        "hint: RUNBACK_GPU=auto ./run_script.bash … runs without one\n"
    )


@gpu_less
def test_client_without_a_daemon_is_the_common_case(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    reason = "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?"
    make_engine("docker", {"ServerErrors": [reason], "ServerVersion": ""})
    done = project.run("true")
    assert done.returncode == 0
    assert done.stderr == (f"runback: no container (docker: {reason}); running in .venv, no GPU\n")


def test_engine_that_answers_is_used(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    done = project.run("python3", "-c", "print('in the container')")
    assert done.stdout == "in the container\n"
    assert "runback: building the image runback:" in done.stderr
    assert ", no GPU (docker has no NVIDIA runtime)\n" in done.stderr
    assert len(engine.calls("build")) == 1


def test_image_is_built_once(project: Project, make_engine: Callable[..., FakeEngine]) -> None:
    engine = make_engine("docker")
    for _ in range(3):
        project.run("true")
    assert len(engine.calls("build")) == 1
    assert len(engine.calls("run")) == 3


def test_changed_lock_builds_again(
    project: Project, make_engine: Callable[..., FakeEngine], tmp_path: Path
) -> None:
    engine = make_engine("docker")
    project.run("true")
    (tmp_path / "docker-image").unlink()  # the engine has none of the new name
    (project.root / "requirements.txt").write_text("six==1.17.0\n")
    project.run("true")
    tags = [words[words.index("--tag") + 1] for words in engine.calls("build")]
    assert len(set(tags)) == 2


def test_several_at_a_time_build_once(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    command = [str(project.root / "run_script.bash"), "true"]
    started = [Started(command, env=project.environ, stderr=subprocess.DEVNULL) for _ in range(6)]
    assert [process.wait() for process in started] == [0] * 6
    assert len(engine.calls("build")) == 1


def test_failed_build_names_the_image_and_runs_nothing(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    done = project.run("true", FAKE_BUILD_STATUS="17")
    assert done.returncode == 3
    assert "error: docker build for runback:" in done.stderr
    assert "ended with status 17" in done.stderr
    assert engine.calls("run") == []


def test_gpu_is_handed_over_where_there_is_one(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine(
        "docker", {"ServerVersion": "27.0", "Runtimes": {"runc": {}, "nvidia": {}}}
    )
    assert ", all GPUs\n" in project.run("true").stderr
    assert "--gpus" in engine.calls("run")[0]
    assert ", no GPU (RUNBACK_GPU=none)\n" in project.run("true", RUNBACK_GPU="none").stderr
    assert "--gpus" not in engine.calls("run")[1]


def test_more_arguments_reach_the_engine(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    engine = make_engine("docker")
    project.run("true", RUNBACK_ENGINE_ARGS="--volume '/my data:/data:ro'")
    words = engine.calls("run")[0]
    assert words[words.index("--volume") + 1] == "/my data:/data:ro"


def test_arguments_that_cannot_be_split_are_an_error(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    make_engine("docker")
    done = project.run("true", RUNBACK_ENGINE_ARGS="--volume 'open")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        3,
        "error: RUNBACK_ENGINE_ARGS cannot be split into words: No closing quotation",
    )


def test_environment_that_was_changed_by_hand_is_refused(project: Project) -> None:
    write_stamp(project.root, numpy="2.4.6", six="1.17.0")
    library = next((project.root / ".venv" / "lib").glob("python3*")) / "site-packages"
    (library / "numpy-1.26.4.dist-info").mkdir()
    done = project.run("true")
    assert done.returncode == 3
    assert done.stderr.endswith(
        f"error: {project.root}/.venv and its lock disagree\n"
        "  numpy 2.4.6: 1.26.4 is installed\n"
        "  six 1.17.0: not installed\n"
        "hint: ./run_script.bash --repair installs what the lock says again\n"
    )


def test_venv_of_the_users_own_is_left_alone(project: Project) -> None:
    folder = project.root / ".venv"
    (folder / "runback.json").unlink()
    (folder / "precious").touch()
    done = project.run("true")
    assert done.returncode == 3
    assert done.stderr.endswith(
        f"error: {folder} was not made by run_script.bash, which needs a folder of this name\n"
        "hint: mv .venv .venv.mine\n"
    )
    assert (folder / "precious").exists()


def test_moved_project_gets_another_environment(project: Project, tmp_path: Path) -> None:
    """Its scripts name the folder that they were made in."""
    moved = project.root.rename(tmp_path / "moved")
    assert not venv.is_ready(moved, kind.full())
    write_stamp(moved)
    assert venv.is_ready(moved, kind.full())


def test_environment_with_cuda_serves_a_machine_without_a_driver(project: Project) -> None:
    """Two machines that share a home must not make it anew for one another."""
    stamp = project.root / ".venv" / "runback.json"
    content = json.loads(stamp.read_text())
    stamp.write_text(json.dumps({**content, "lock": kind.digest(project.root, kind.FULL_CUDA)}))
    assert project.run("true").returncode == 0


def test_streams_that_are_closed_and_a_home_that_is_none(
    project: Project, make_engine: Callable[..., FakeEngine]
) -> None:
    make_engine("docker")
    closed = f"exec '{project.root}/run_script.bash' true <&-"
    environ = {**project.environ, "HOME": "/proc/none"}
    done = subprocess.run(
        ["bash", "-c", closed], env=environ, cwd=project.root, capture_output=True, text=True
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (project.root / ".runback" / "home").is_dir()


@pytest.mark.parametrize("folder", ["/", "/usr", "/opt"])
def test_folder_that_would_hide_the_containers_own_is_refused(
    project: Project, make_engine: Callable[..., FakeEngine], folder: str
) -> None:
    make_engine("docker")
    done = project.run("true", cwd=Path(folder))
    assert done.returncode == 3
    assert f"error: the folder {folder} cannot be mounted in a container" in done.stderr


def test_what_the_user_installed_besides_is_theirs(project: Project) -> None:
    library = next((project.root / ".venv" / "lib").glob("python3*")) / "site-packages"
    (library / "my_own_tool-1.0.dist-info").mkdir()
    assert project.run("true").returncode == 0


def test_too_old_a_python_for_the_launcher_says_what_is_needed(
    project: Project, tmp_path: Path
) -> None:
    """The file that every Python reads first must parse on an old one and say what is needed."""
    main = (project.root / "runback" / "launch" / "__main__.py").read_text()
    old = main.replace("sys.version_info < (3, 9)", "True").replace('"python3.', '"no-python3.')
    (project.root / "runback" / "launch" / "__main__.py").write_text(old)
    done = project.run("true")
    assert done.returncode == 3
    assert "this needs 3.9 or later (and 3.11 or 3.12 to train" in done.stderr
    assert done.stderr.endswith("hint: apt-get install python3.11 python3.11-venv\n")


def test_python_of_another_version_cannot_carry_the_lock(project: Project) -> None:
    shutil.rmtree(project.root / ".venv")
    other = tools(project.root.parent) / "python3.10"
    other.write_text("#!/bin/sh\necho 3.10.13\n")
    other.chmod(0o755)
    done = project.run("true", RUNBACK_PYTHON=str(other))
    assert done.returncode == 3
    assert done.stderr.splitlines()[-2:] == [
        "error: the environment needs Python 3.11 or 3.12 with its venv module, "
        f"found: {other} (3.10.13)",
        "hint: install one (Debian, Ubuntu: python3.12-venv or python3.11-venv), "
        "or name one: RUNBACK_PYTHON=/path/to/python3.12",
    ]


def test_python_without_venv_is_named(project: Project) -> None:
    """Debian's python3 comes without ensurepip until python3-venv is installed."""
    shutil.rmtree(project.root / ".venv")
    bare = tools(project.root.parent) / "python3.12"
    bare.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'ensurepip'\" >&2\nexit 1\n"
    )
    bare.chmod(0o755)
    done = project.run("true", RUNBACK_PYTHON=str(bare))
    assert f"found: {bare} (without its ensurepip module)\n" in done.stderr


@pytest.fixture
def no_python(project: Project) -> Project:
    """Return the project on a machine that has no python3 at all."""
    folder = Path(project.environ["PATH"])
    for path in folder.glob("python3*"):
        path.unlink()
    return project


def test_neither_python_nor_engine(no_python: Project) -> None:
    done = no_python.run("true")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "error: neither python3 nor a docker engine that answers was found\n"
        "hint: apt-get install python3 python3-venv\n"
    )


def test_docker_alone_is_enough(no_python: Project, make_engine: Callable[..., FakeEngine]) -> None:
    engine = make_engine("docker")
    for path in Path(no_python.environ["PATH"]).glob("python3*"):
        path.unlink()
    done = no_python.run("sh", "-c", 'printf "%s|" "$@"', "-", "two words", "it's")
    assert (done.returncode, done.stdout) == (0, "two words|it's|")
    words = engine.calls("run")[0]
    assert f"{os.getuid()}:{os.getgid()}" in words
    assert f"RUNBACK_HOST={os.uname().nodename}" in words
    assert f"type=bind,source={no_python.root},target={no_python.root}" in words


SLEEPER = """
import os, signal, sys, time
def stop(number, frame):
    os.write(1, b"SIGTERM\\n")  # print may be what was interrupted
    sys.exit(43)
signal.signal(signal.SIGTERM, stop)
try:
    print("up", sys.stdout.isatty(), flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("SIGINT", flush=True)
    sys.exit(42)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 42), (signal.SIGTERM, 43)])
def test_signals_reach_the_command(project: Project, number: signal.Signals, status: int) -> None:
    command = [str(project.root / "run_script.bash"), "python", "-c", SLEEPER]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with Started(command, env=project.environ, **given) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up False\n"
        process.send_signal(number)
        assert process.stdout.read() == f"{number.name}\n"
        assert process.wait(180) == status


def test_terminal_is_kept(project: Project) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.root)
        command = ["./run_script.bash", "python", "-c", SLEEPER]
        os.execve(command[0], command, project.environ)
    output = b""
    while b"up" not in output:
        output += os.read(terminal, 1000)
    time.sleep(0.2)
    os.write(terminal, b"\x03")
    _, waited = os.waitpid(pid, 0)
    assert b"up True" in output
    assert os.waitstatus_to_exitcode(waited) == 42


def test_runs_on_the_oldest_python_that_the_launcher_promises(project: Project) -> None:
    """The launcher's modules hold to the grammar of Python 3.9."""
    folder = project.root / "runback"
    files = [
        *folder.glob("launch/*.py"),
        *(folder / f"{n}.py" for n in ("errors", "git", "interrupts", "terminal", "ui")),
    ]
    for path in [*files, folder / "__init__.py", folder / "locked.py"]:
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_an_old_python_on_this_machine_runs_it(project: Project) -> None:
    old = next(
        (p for v in ("3.9", "3.10") if (p := shutil.which(f"python{v}")) and _starts(p)), None
    )
    if old is None:
        pytest.skip("needs a Python 3.9 or 3.10 on PATH")
    command = [old, "-I", "-S", str(project.root / "runback" / "launch"), "run", "true"]
    done = subprocess.run(command, env=project.environ, capture_output=True, text=True)
    assert (done.returncode, "running in .venv" in done.stderr) == (0, True)


def _starts(program: str) -> bool:
    return subprocess.run([program, "-c", ""], capture_output=True).returncode == 0


def test_modules_of_the_working_directory_do_not_stand_in_for_ours(project: Project) -> None:
    """A project may have a json.py or a runback.py of its own."""
    folder = project.root / "sub"
    folder.mkdir()
    for name in ("json", "runback", "engine", "subprocess"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported the wrong module')\n")
    assert project.run("true", cwd=folder, PYTHONPATH=str(folder)).returncode == 0


if sys.platform != "linux":  # pragma: no cover
    pytest.skip("the launcher is tested on Linux", allow_module_level=True)
