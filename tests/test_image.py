"""The image's name follows what it is made from; a failed build says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from runback.errors import DiskFull, ImageError
from runback.launch import image
from runback.launch.engine import Engine


def test_name_follows_the_dockerfile_and_the_locks(copy: Path) -> None:
    names = {image.tag(copy)}
    for part in ("docker/Dockerfile", "requirements.txt", "docker/tensorflow-cuda.txt"):
        with (copy / part).open("a") as file:
            file.write("# changed\n")
        names.add(image.tag(copy))
    names.add(image.tag(copy, ["--build-arg", "BASE=other"]))
    assert len(names) == 5


def test_name_does_not_follow_the_project(copy: Path) -> None:
    before = image.tag(copy)
    (copy / "train.py").write_text("print('mine')\n")
    (copy / "docker" / "notes.md").write_text("mine\n")
    (copy / "docker" / "light.txt").write_text("# in no image\n")
    assert image.tag(copy) == before


def test_same_parts_have_the_same_name_in_every_project(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    copy_name = image.tag(copy)
    copy.rename(other)
    assert image.tag(other) == copy_name


def test_build_carries_the_locks_digest(copy: Path) -> None:
    engine = Engine("docker", "/usr/bin/docker", "27", rootless=False)
    words = image.build_command(engine, copy, "runback:1", ["--network", "host"])
    assert f"LOCK_DIGEST={image.lock_digest(copy)}" in words
    assert words[-1] == str(copy)
    assert "--network" in words


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_identity_is_written_alike_by_docker_and_podman(tmp_path: Path, prefix: str) -> None:
    engine = fake(tmp_path, f"echo {prefix}{'a' * 64}")
    assert image.identity(engine, "runback:1") == "sha256:" + "a" * 64


def test_engine_without_the_image_names_none(tmp_path: Path) -> None:
    assert image.identity(fake(tmp_path, "echo []; exit 1"), "runback:1") == ""


def test_context_lets_in_the_locks_and_nothing_of_the_project(copy: Path) -> None:
    rules = (copy / ".dockerignore").read_text().splitlines()
    allowed = [rule for rule in rules if rule and not rule.startswith("#")]
    assert allowed == ["*", "!requirements.txt", "!docker/*.txt"]


def fake(folder: Path, text: str) -> Engine:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return Engine("docker", str(program), "27", rootless=False)


def test_client_that_cannot_use_buildkit_is_told_what_to_install(
    copy: Path, tmp_path: Path
) -> None:
    """Docker's command from 23 on builds with BuildKit only if buildx is installed."""
    engine = fake(tmp_path, 'case "$1" in version) echo 28.2.2;; *) exit 1;; esac')
    with pytest.raises(ImageError, match="cannot use BuildKit") as raised:
        image.build(engine, copy, "runback:1", [], {})
    assert raised.value.hint.startswith("apt-get install docker-buildx ")


def test_other_failures_point_at_the_output_above(copy: Path, tmp_path: Path) -> None:
    engine = fake(tmp_path, 'case "$1" in version) echo 20.10.24;; *) exit 1;; esac')
    with pytest.raises(ImageError, match=r"status 1 \(its output is above\)"):
        image.build(engine, copy, "runback:1", [], {})


def test_full_disk_is_noticed_before_hours_are_spent(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "NEEDED_BYTES", 10**18)
    engine = Engine("docker", "docker", "27", rootless=False, storage=str(tmp_path))
    with pytest.raises(DiskFull, match=r"the image needs about 1000000000 GB"):
        image.build(engine, copy, "runback:1", [], {})


def test_engine_on_another_machine_is_not_asked_for_its_disk(copy: Path, tmp_path: Path) -> None:
    engine = fake(tmp_path, "exit 0")
    remote = Engine("docker", engine.program, "27", rootless=False, storage="/no/such/folder")
    image.build(remote, copy, "runback:1", [], {})
