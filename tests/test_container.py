"""The docker run and podman run that a command becomes."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runback.launch import container, inside
from runback.launch.container import Caller
from runback.launch.engine import Engine

DOCKER = Engine("docker", "/usr/bin/docker", "27", rootless=False, gpu=("--gpus", "all"))
PODMAN = Engine("podman", "/usr/bin/podman", "5", rootless=True)
ROOT = Path("/home/ada/project")
CALLER = Caller(
    uid=1001,
    gid=100,
    user="ada",
    cwd=ROOT,
    home=Path("/home/ada/.cache/runback/home"),
    stdin=True,
    terminal=False,
)


def words(
    engine: Engine = DOCKER,
    caller: Caller = CALLER,
    root: Path = ROOT,
    environ: dict[str, str] | None = None,
    gpu: bool = False,
) -> list[str]:
    command = ["python", "train.py"]
    return container.run_command(
        engine, "runback:1", root, caller, environ or {}, gpu=gpu, extra=[], command=command
    )


def values(command: list[str], option: str) -> list[str]:
    return [command[i + 1] for i, word in enumerate(command) if word == option]


def test_whole_command() -> None:
    """The one place that shows all of it."""
    given = {"TERM": "xterm", "AWS_SECRET_ACCESS_KEY": "x", "RUNBACK_ENGINE": "docker"}
    environ = container.with_origin(given, "sha256:1")
    assert words(environ=environ, gpu=True) == [
        *("/usr/bin/docker", "run", "--rm", "--interactive", "--gpus", "all"),
        *("--user", "1001:100"),
        *("--mount", "type=bind,source=/home/ada/project,target=/home/ada/project"),
        "--mount",
        "type=bind,source=/home/ada/.cache/runback/home,target=/home/ada/.cache/runback/home",
        *("--workdir", "/home/ada/project"),
        *("--env", "RUNBACK_HOST", "--env", "RUNBACK_IMAGE_ID", "--env", "TERM"),
        *("--env", "HOME=/home/ada/.cache/runback/home", "--env", "USER=ada"),
        *("--env", "LOGNAME=ada"),
        *("--shm-size", "8g"),
        "runback:1",
        *("python", "/home/ada/project/runback/launch/inside.py", "python", "train.py"),
    ]


def test_gpu_is_left_out_when_not_wanted() -> None:
    assert "--gpus" not in words(gpu=False)


def test_values_of_variables_do_not_show_in_the_process_list() -> None:
    environ = {"MLFLOW_TRACKING_PASSWORD": "hunter2", "OMP_NUM_THREADS": "4", "SECRET": "s"}
    command = words(environ=environ)
    assert values(command, "--env")[:2] == ["MLFLOW_TRACKING_PASSWORD", "OMP_NUM_THREADS"]
    assert not any("hunter2" in word or "SECRET" in word for word in command)


def test_container_is_told_what_it_cannot_find_out() -> None:
    told = container.with_origin({"TERM": "xterm", "RUNBACK_IMAGE_ID": "stale"}, "sha256:1")
    host = os.uname().nodename
    assert told == {"TERM": "xterm", "RUNBACK_HOST": host, "RUNBACK_IMAGE_ID": "sha256:1"}
    assert container.with_origin({"RUNBACK_HOST": "big"}, "sha256:1")["RUNBACK_HOST"] == "big"


def test_terminal_and_input_are_asked_for_only_when_there() -> None:
    assert "--tty" in words(caller=replace(CALLER, terminal=True))
    assert "--interactive" not in words(caller=replace(CALLER, stdin=False))


def test_rootless_docker_is_root_inside_which_is_the_caller_outside() -> None:
    assert values(words(replace(DOCKER, rootless=True)), "--user") == ["0:0"]


def test_rootless_podman_keeps_the_callers_id() -> None:
    command = words(PODMAN)
    assert "--userns=keep-id" in command
    assert values(command, "--user") == ["1001:100"]
    assert values(command, "--security-opt") == ["label=disable"]


def test_rootful_podman_takes_the_callers_id() -> None:
    command = words(replace(PODMAN, rootless=False))
    assert "--userns=keep-id" not in command
    assert values(command, "--user") == ["1001:100"]


@pytest.mark.parametrize("name", ["with space", "com,ma", 'quo"te', "co:lon", "é"])
def test_mount_of_any_folder_name_reads_back(name: str) -> None:
    root = Path("/data") / name
    mount = values(words(root=root, caller=replace(CALLER, cwd=root)), "--mount")[0]
    fields = next(csv.reader([mount]))
    assert fields == ["type=bind", f"source={root}", f"target={root}"]


def test_working_directory_outside_of_the_project_is_mounted_before_it() -> None:
    mounts = values(words(caller=replace(CALLER, cwd=Path("/home/ada"))), "--mount")
    assert [m.partition("target=")[2] for m in mounts[:2]] == ["/home/ada", "/home/ada/project"]


def test_repository_of_a_worktree_is_mounted_too(tmp_path: Path) -> None:
    """Else MLflow logs no commit: .git of a worktree is a file that points elsewhere."""
    main, tree = tmp_path / "main", tmp_path / "tree"
    gitdir = main / ".git" / "worktrees" / "tree"
    gitdir.mkdir(parents=True)
    (gitdir / "commondir").write_text("../..\n")
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {gitdir}\n")
    mounts = values(words(root=tree, caller=replace(CALLER, cwd=tree)), "--mount")
    assert f"type=bind,source={main / '.git'},target={main / '.git'}" in mounts


def test_repository_is_mounted_with_a_project_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git looks for it above the project. Not a home that is kept in git, nor a system."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    root = tmp_path / "parts" / "training"

    def first() -> str:
        return values(words(root=root, caller=replace(CALLER, cwd=root)), "--mount")[0]

    assert first() == f"type=bind,source={tmp_path},target={tmp_path}"
    alone = f"type=bind,source={root},target={root}"
    with monkeypatch.context() as home_in_git:
        home_in_git.setenv("HOME", str(tmp_path))
        assert first() == alone
    monkeypatch.setattr(container, "SYSTEM_FOLDERS", (str(tmp_path / "bin"),))
    assert first() == alone


def test_pointer_to_nowhere_mounts_nothing(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /no/such/folder\n")
    assert len(values(words(root=tmp_path, caller=replace(CALLER, cwd=tmp_path)), "--mount")) == 2


@pytest.mark.parametrize(
    ("extra", "host"),
    [
        (["--network", "host"], True),
        (["--network=host"], True),
        (["--net=host"], True),
        (["--network", "bridge"], False),
        ([], False),
    ],
)
def test_host_network_is_seen_in_the_extra_arguments(extra: list[str], host: bool) -> None:
    assert container.uses_host_network(extra) is host


def test_copy_that_dvc_made_is_mounted_with_its_project() -> None:
    """Store, cache and git's objects are the project's."""
    copy = ROOT / ".dvc/tmp/exps/standalone/tmp1"
    given = {"DVC_EXP_NAME": "a", "DVC_ROOT": str(ROOT), "DVC_STUDIO_TOKEN": "x"}
    command = words(caller=replace(CALLER, cwd=copy), root=copy, environ=given)
    home = CALLER.home
    assert values(command, "--mount") == [
        f"type=bind,source={ROOT},target={ROOT}",
        f"type=bind,source={home},target={home}",
    ]
    assert values(command, "--workdir") == [str(copy)]
    assert values(command, "--env")[:2] == ["DVC_EXP_NAME", "DVC_ROOT"]
    assert str(copy / "runback/launch/inside.py") in command


def test_copy_that_dvc_made_has_the_store_of_its_project() -> None:
    copy = ROOT / ".dvc/tmp/exps/tmp1"
    found = inside.variables(copy, {})
    assert found["MLFLOW_TRACKING_URI"] == f"sqlite:///{ROOT}/mlflow.db"
    assert found["_MLFLOW_SERVER_ARTIFACT_ROOT"] == f"{ROOT}/mlruns"
    assert found["PYTHONPATH"] == str(copy)
    assert inside.origin(ROOT) == ROOT
    assert inside.origin(ROOT / ".dvc/tmp/exps") == ROOT / ".dvc/tmp/exps"
