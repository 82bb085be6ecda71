"""runback verify: names, versions and every file of the environment that runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from wheels import make_wheel

from runback import environment
from runback.errors import LockMissing


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment that sees this one's packages beside two of its own."""
    folder = tmp_path_factory.mktemp("small")
    wheels, venv = folder / "wheels", folder / "venv"
    lock = "".join(make_wheel(wheels, name, "1.0") for name in ("alpha", "beta"))
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    # For packaging and click, after its own: compared are the lock's names alone.
    ours = Path(environment.__file__).parents[1]
    packages = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    (site / "ours.pth").write_text(f"{ours}\n{packages}\n")
    install = [str(venv / "bin" / "pip"), "install", "-q", "--no-index", "--find-links"]
    subprocess.run([*install, str(wheels), "alpha", "beta"], check=True)
    (venv / "lock.txt").write_text(lock)
    return venv


def verify(small: Path, *arguments: str) -> tuple[int, str]:
    command = [str(small / "bin" / "python"), "-m", "runback", "verify", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("not in the lock")]
    return done.returncode, "\n".join(lines) + done.stderr


def test_environment_as_locked(small: Path) -> None:
    assert verify(small) == (0, "as locked: 2 packages")
    assert verify(small, "--deep") == (0, "as locked: 2 packages, 10 files")


def test_edited_file_is_found_by_reading_it(small: Path) -> None:
    module = next(small.rglob("alpha.py"))
    before = module.read_text()
    module.write_text(before.replace("1.0", "1.1"))
    assert verify(small) == (0, "as locked: 2 packages")
    assert verify(small, "--deep") == (
        1,
        "damaged: alpha: alpha.py\ndifferent: 2 packages, 10 files",
    )
    module.write_text(before)


def test_missing_file_is_found(small: Path) -> None:
    module = next(small.rglob("beta.py"))
    moved = module.rename(module.with_suffix(".away"))
    assert verify(small, "--deep")[1].startswith("damaged: beta: beta.py\n")
    moved.rename(module)


def test_other_lock_is_compared_with(small: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "alpha==2.0 \\\n    --hash=sha256:00\n"
        "no-such-package==1 ; python_version >= '3' \\\n    --hash=sha256:00\n"
        "elsewhere==1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    assert verify(small, str(lock)) == (
        1,
        "wrong: alpha 2.0: 1.0 is installed\n"
        "wrong: no-such-package 1: not installed\n"
        "different: 2 packages",
    )


def test_environment_without_a_lock_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(LockMissing) as raised:
        environment.compare(tmp_path / "lock.txt")
    assert str(raised.value).endswith("lock.txt: No such file or directory")
    assert raised.value.hint == "./run_script.bash python -m runback verify requirements.txt"
