"""Which engine answers, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeEngine, bare_environ

from runback.launch import engine
from runback.launch.engine import Absent, Engine

PODMAN = {
    "host": {"security": {"rootless": True}},
    "store": {"graphRoot": "/home/ada/.local/share/containers/storage"},
    "version": {"Version": "4.3.1"},
}


def answer(info: dict[str, Any], make: Callable[..., FakeEngine], name: str = "docker") -> Any:
    fake = make(name, info)
    return engine.find("auto", str(fake.folder))


def test_docker_says_what_it_can(make_engine: Callable[..., FakeEngine]) -> None:
    info = {
        "ServerVersion": "28.1.0",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
        "Runtimes": {"nvidia": {}, "runc": {}},
        "DockerRootDir": "/var/lib/docker",
    }
    found = answer(info, make_engine)
    assert (found.version, found.rootless, found.gpu) == ("28.1.0", True, ("--gpus", "all"))
    assert found.storage == "/var/lib/docker"


def test_docker_without_options_is_rootful_and_without_gpu(
    make_engine: Callable[..., FakeEngine],
) -> None:
    info = {"ServerVersion": "20.10.24", "SecurityOptions": None, "Runtimes": None}
    found = answer(info, make_engine)
    assert (found.rootless, found.gpu) == (False, ())


def test_podman_says_whether_it_is_rootless(make_engine: Callable[..., FakeEngine]) -> None:
    found = answer(PODMAN, make_engine, "podman")
    assert (found.name, found.version, found.rootless) == ("podman", "4.3.1", True)


def test_podman_that_calls_itself_docker_is_podman(make_engine: Callable[..., FakeEngine]) -> None:
    assert answer(PODMAN, make_engine, "docker").name == "podman"


def test_podman_takes_the_gpu_from_a_cdi_file(
    make_engine: Callable[..., FakeEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CDI_FOLDERS", (tmp_path / "none", tmp_path / "cdi"))
    assert answer(PODMAN, make_engine, "podman").gpu == ()
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi" / "nvidia.yaml").touch()
    assert answer(PODMAN, make_engine, "podman").gpu == ("--device", "nvidia.com/gpu=all")


def test_docker_goes_before_podman(make_engine: Callable[..., FakeEngine]) -> None:
    make_engine("podman", PODMAN)
    assert answer({"ServerVersion": "27"}, make_engine).name == "docker"


def test_podman_stands_in_where_docker_has_no_daemon(
    make_engine: Callable[..., FakeEngine],
) -> None:
    make_engine("podman", PODMAN)
    assert answer({"ServerErrors": ["no daemon"]}, make_engine).name == "podman"


def test_reason_is_that_of_the_engine_that_is_installed(
    make_engine: Callable[..., FakeEngine],
) -> None:
    reason = "permission denied while trying to connect to the Docker daemon socket"
    assert answer({"ServerErrors": [reason]}, make_engine) == Absent("docker", reason)


def test_no_engine_at_all(tmp_path: Path) -> None:
    found = engine.find("auto", bare_environ(tmp_path)["PATH"])
    assert found == Absent("docker or podman", "not installed")


def script(folder: Path, text: str) -> str:
    (folder / "docker").write_text("#!/bin/sh\n" + text)
    (folder / "docker").chmod(0o755)
    return str(folder)


def test_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ANSWER_WITHIN_S", 0.2)
    found = engine.find("docker", script(tmp_path, "exec /bin/sleep 30\n"))
    assert found == Absent("docker", "no answer in 0.2 s")


def test_engine_that_says_no_json_is_quoted(tmp_path: Path) -> None:
    found = engine.find("docker", script(tmp_path, "echo 'ERROR: bad context' >&2; exit 1\n"))
    assert found == Absent("docker", "bad context")


def test_program_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "docker").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "docker").chmod(0o755)
    found = engine.find("docker", str(tmp_path))
    assert found == Absent("docker", f"{tmp_path}/docker: Exec format error")


def test_real_answer_of_docker_20_10(tmp_path: Path) -> None:
    """As printed by Debian 12's docker.io, with a daemon and without."""
    info = {"ServerVersion": "20.10.24+dfsg1", "Runtimes": {"runc": {"path": "runc"}}}
    found = engine.find("docker", script(tmp_path, f"echo '{json.dumps(info)}'\n"))
    assert isinstance(found, Engine)
    client = {"ServerErrors": ["Cannot connect to the Docker daemon"], "ClientInfo": {}}
    assert isinstance(
        engine.find("docker", script(tmp_path, f"echo '{json.dumps(client)}'\n")), Absent
    )
