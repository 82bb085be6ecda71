"""The fallback environment: made from a lock by hash, kept right, never half made."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from processes import Started
from wheels import make_wheel

from runback.errors import DiskFull, EnvironmentDrift, EnvironmentFailed
from runback.launch import base_python, install, kind, venv
from runback.launch.kind import FULL_CPU, FULL_CUDA, LIGHT, Kind
from runback.launch.progress import Progress

SMALL = Kind(".venv", "requirements.txt", 1_000_000, "nothing")


@dataclass
class Lab:
    """A project whose lock is of small wheels in a folder."""

    root: Path
    wheels: Path

    def lock(self, *packages: tuple[str, str], file: str = "requirements.txt") -> None:
        text = "".join(make_wheel(self.wheels, name, version) for name, version in packages)
        (self.root / file).parent.mkdir(exist_ok=True)
        (self.root / file).write_text("# made by a test\n" + text)

    def ensure(self, which: Kind = SMALL, repair: bool = False) -> None:
        venv.ensure(self.root, which, Progress(), repair)

    def installed(self) -> dict[str, str]:
        found = venv.installed(self.root, SMALL)
        return {
            name: version for name, version in found.items() if name not in ("pip", "setuptools")
        }


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "wheels").as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    root = tmp_path / "a project"
    (root / ".runback").mkdir(parents=True)
    return Lab(root, tmp_path / "wheels")  # type: ignore[return-value]


def test_environment_is_what_the_lock_says(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"), ("beta", "2.0"))
    assert not venv.is_ready(lab.root, SMALL)
    lab.ensure()
    assert lab.installed() == {"alpha": "1.0", "beta": "2.0"}
    assert venv.is_ready(lab.root, SMALL)


def test_environment_that_is_right_is_left_alone(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    lab.ensure()
    shutil.rmtree(lab.wheels)  # nothing could be installed now
    lab.ensure()


def test_its_python_finds_the_project(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    (lab.root / "mine.py").write_text("")
    lab.ensure()
    assert imports_mine(lab)


def imports_mine(lab: Lab) -> bool:
    command = [str(venv.python(lab.root, SMALL)), "-c", "import mine"]
    return subprocess.run(command, cwd="/", env={}, capture_output=True).returncode == 0


@pytest.mark.parametrize("before", [None, b"/elsewhere\n", b"\xff"])
def test_older_environment_is_linked_to_the_project_and_not_made_anew(
    lab: Lab, before: bytes | None
) -> None:
    lab.lock(("alpha", "1.0"))
    (lab.root / "mine.py").write_text("")
    lab.ensure()
    link = next((lab.root / ".venv").rglob("runback.pth"))
    link.unlink() if before is None else link.write_bytes(before)
    assert not imports_mine(lab)
    shutil.rmtree(lab.wheels)
    lab.ensure()
    assert imports_mine(lab)


def test_link_that_cannot_be_written_stops_nothing(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    lab.ensure()
    link = next((lab.root / ".venv").rglob("runback.pth"))
    link.unlink()
    link.mkdir()
    lab.ensure()


def test_changed_lock_is_followed_and_the_users_own_additions_stay(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"), ("beta", "2.0"))
    lab.ensure()
    make_wheel(lab.wheels, "mine", "9")
    command = [str(venv.python(lab.root, SMALL)), "-m", "pip", "install", "-q", "mine"]
    subprocess.run(command, check=True)
    lab.lock(("alpha", "1.1"), ("gamma", "3.0"))
    lab.ensure()
    assert lab.installed() == {"alpha": "1.1", "gamma": "3.0", "mine": "9"}


def test_wheel_with_another_hash_is_refused(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    make_wheel(lab.wheels, "alpha", "1.0", body="import os  # swapped\n")
    with pytest.raises(EnvironmentFailed, match=r"pip failed: .*[Hh]ash|HASH") as raised:
        lab.ensure()
    assert not venv.is_ready(lab.root, SMALL)
    assert (lab.root / ".runback" / "venv.log").exists()
    assert "venv.log" in raised.value.hint


def test_package_out_of_reach_is_named(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    shutil.rmtree(lab.wheels)
    with pytest.raises(EnvironmentFailed, match=r"alpha==1\.0"):
        lab.ensure()


def test_package_that_was_changed_by_hand_is_noticed_and_repaired(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"), ("beta", "2.0"))
    lab.ensure()
    make_wheel(lab.wheels, "alpha", "1.5")
    pip = [str(venv.python(lab.root, SMALL)), "-m", "pip"]
    subprocess.run([*pip, "install", "-q", "alpha==1.5"], check=True)
    subprocess.run([*pip, "uninstall", "-q", "-y", "beta"], check=True)
    with pytest.raises(EnvironmentDrift) as raised:
        lab.ensure()
    assert str(raised.value).splitlines()[1:] == [
        "  alpha 1.0: 1.5 is installed",
        "  beta 2.0: not installed",
    ]
    lab.ensure(repair=True)
    assert lab.installed() == {"alpha": "1.0", "beta": "2.0"}
    lab.ensure()


def test_repair_writes_damaged_files_again(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    lab.ensure()
    module = next((lab.root / ".venv").rglob("alpha.py"))
    module.write_text("damaged")
    lab.ensure(repair=True)
    assert module.read_text() == "version = '1.0'\n"


MAKE = """
import sys
from pathlib import Path
from runback.launch import venv
from runback.launch.kind import Kind
from runback.launch.progress import Progress
venv.ensure(Path(sys.argv[1]), Kind(".venv", "requirements.txt", 1_000_000, "nothing"), Progress())
print("ready")
"""


# Instead of pip, one that says that it is there and waits until it is to go on.
WAITS = """
import os, sys
from runback.launch import install
pip = "import time; from pathlib import Path; Path('pip').touch()"
pip += "\\nwhile not Path('go').exists(): time.sleep(0.01)"
install._command = lambda python, verb="install": [sys.executable, "-c", pip]
os.chdir(sys.argv[1])
"""


def start_making(lab: Lab, code: str = MAKE) -> Started:
    command = [sys.executable, "-c", code, str(lab.root)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return Started(command, start_new_session=True, **pipes)


def test_several_at_a_time_make_it_once(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    makers = [start_making(lab) for _ in range(4)]
    outputs = [maker.communicate() for maker in makers]
    assert [out for out, _ in outputs] == ["ready\n"] * 4
    errors = "".join(err for _, err in outputs)
    assert errors.count("making .venv from requirements.txt") == 1
    assert errors.count("another process is making this environment") == 3


def test_killed_half_way_it_is_made_anew(lab: Lab) -> None:
    lab.lock(*((f"package{n}", "1.0") for n in range(20)))
    maker = start_making(lab)
    while not any((lab.root / ".venv").rglob("package*.py")) and maker.poll() is None:
        time.sleep(0.01)
    os.killpg(maker.pid, signal.SIGKILL)
    maker.communicate()
    (lab.root / ".venv" / "left-over").touch()
    lab.ensure()
    assert len(lab.installed()) == 20
    assert not (lab.root / ".venv" / "left-over").exists()


def test_pip_of_a_launcher_that_was_killed_alone_is_waited_for(lab: Lab) -> None:
    """Two at a time in one folder would leave what neither has installed."""
    lab.lock(("alpha", "1.0"))
    maker = start_making(lab, WAITS + MAKE)
    while not (lab.root / "pip").exists() and maker.poll() is None:
        time.sleep(0.01)
    maker.kill()
    maker.wait()
    with (lab.root / ".runback" / "venv.lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (lab.root / "go").touch()
        fcntl.flock(lock, fcntl.LOCK_EX)
    lab.ensure()
    assert lab.installed() == {"alpha": "1.0"}


def test_failed_update_leaves_what_was_there(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    lab.ensure()
    lab.lock(("alpha", "1.1"))
    shutil.rmtree(lab.wheels)
    with pytest.raises(EnvironmentFailed):
        lab.ensure()
    (lab.root / ".venv" / "mine").touch()
    lab.lock(("alpha", "1.1"))
    lab.ensure()
    assert lab.installed() == {"alpha": "1.1"}
    assert (lab.root / ".venv" / "mine").exists()


def test_environment_whose_python_is_gone_is_made_anew(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    lab.ensure()
    venv.python(lab.root, SMALL).unlink()
    assert not venv.is_ready(lab.root, SMALL)
    lab.ensure()
    assert venv.is_ready(lab.root, SMALL)


def test_too_little_room_is_said_before_anything_is_written(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"))
    with pytest.raises(DiskFull, match=r"\.venv needs about 1000000000 GB, and .* GB free"):
        lab.ensure(replace(SMALL, needed_bytes=10**18))
    assert not (lab.root / ".venv").exists()


OVERLAID = replace(SMALL, overlay="docker/torch-cpu.txt", replaced=r"(torch==|nvidia-)")


def test_cpu_build_stands_in_for_torch_and_its_cuda_parts(lab: Lab) -> None:
    lab.lock(("alpha", "1.0"), ("torch", "2.0"), ("nvidia-cudnn", "9"))
    lab.lock(("torch", "2.0+cpu"), file=OVERLAID.overlay)
    lab.ensure(OVERLAID)
    assert lab.installed() == {"alpha": "1.0", "torch": "2.0+cpu"}
    assert venv.is_ready(lab.root, OVERLAID)


def test_without_a_cpu_build_in_reach_the_locks_own_wheel_is_taken(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "TORCH_CPU_INDEX", (lab.root / "no-index").as_uri())
    lab.lock(("alpha", "1.0"), ("torch", "2.0"))
    lab.lock(("torch", "2.0+cpu"), file=OVERLAID.overlay)
    next(lab.wheels.glob("torch-2.0+cpu*")).unlink()
    lab.ensure(OVERLAID)
    assert lab.installed() == {"alpha": "1.0", "torch": "2.0"}
    assert "no CPU build of torch in reach" in capsys.readouterr().err


def test_driver_that_was_installed_since_brings_the_locks_own_torch(lab: Lab) -> None:
    """pip takes 2.0+cpu for 2.0."""
    lab.lock(("torch", "2.0"))
    lab.lock(("torch", "2.0+cpu"), file=OVERLAID.overlay)
    lab.ensure(OVERLAID)
    assert lab.installed() == {"torch": "2.0+cpu"}
    next(lab.wheels.glob("torch-2.0+cpu*")).unlink()
    lab.ensure(SMALL)
    assert lab.installed() == {"torch": "2.0"}


def test_variables_put_the_environment_first() -> None:
    given = {"PATH": "/usr/bin:/bin", "PYTHONHOME": "/elsewhere", "KEPT": "1"}
    assert venv.variables(Path("/p/.venv"), given) == {
        "PATH": "/p/.venv/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": "/p/.venv",
        "KEPT": "1",
    }


def test_this_machines_kind_follows_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "has_nvidia_driver", lambda: True)
    assert kind.full() is FULL_CUDA
    monkeypatch.setattr(kind, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert kind.full() is FULL_CPU
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert kind.full() is FULL_CUDA  # whose torch is a CPU build there anyway


def test_kinds_name_files_of_the_repository(copy: Path) -> None:
    for which in (FULL_CPU, FULL_CUDA, LIGHT):
        assert json.dumps(kind.digest(copy, which)).startswith('"sha256:')


def test_python_is_found_by_name_when_the_own_one_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "python3.12"
    good.write_text("#!/bin/sh\necho 3.12.3\n")
    good.chmod(0o755)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert base_python.find_python({"PATH": str(tmp_path)}) == str(good)
