"""docs/dvc.md is true: its tutorial, typed from top to bottom, prints what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import dvcs
import pytest
from conftest import REPOSITORY, lend_environment
from screens import run
from sessions import blocks, pattern, steady, steps

PAGE = (REPOSITORY / "docs" / "dvc.md").read_text()
SESSION = [step for block in blocks(PAGE) for step in steps(block)]
LONGEST_S = 300


class Shell:
    """Types commands one after the other, each in the folder that the last one went to."""

    def __init__(self, root: Path, environ: dict[str, str]) -> None:
        self.folder = root
        self.environ = environ

    def type(self, command: str) -> str:
        if command.startswith("./run_script.bash runback"):  # a person's screen; no stderr on it
            words = ("bash", "-c", f"{command} 2>../errors")
            printed = run(words, self.folder, self.environ).text
            return printed or (self.folder.parent / "errors").read_text()
        done = subprocess.run(
            ["bash", "-c", f'{command} && echo "in $PWD"'],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        printed, _, folder = done.stdout.rpartition("in ")
        self.folder = Path(folder.strip())
        return printed

    def wait_for_queue(self) -> None:
        until_s = time.monotonic() + LONGEST_S
        while re.search("Queued|Running", self.type("dvc queue status")):
            assert time.monotonic() < until_s
            time.sleep(1)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a shell in a copy of the project as git has it, with an environment and DVC."""
    folder = tmp_path_factory.mktemp("dvc page")
    root = folder / "my project"
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, root / name)
    lend_environment(root)
    made = Shell(root, {**dvcs.environ(folder), "RUNBACK_ENGINE": "venv"})
    del made.environ["PYTHONPATH"]
    made.type("git init -q && git add . && git commit -qm 'The template'")
    return made


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:40])
def test_session_prints_what_the_page_shows(
    shell: Shell, command: str, expected: list[str]
) -> None:
    printed = "".join(f"{line.rstrip()}\n" for line in shell.type(command).splitlines())
    assert re.fullmatch(pattern(expected), steady(printed)), printed
    if command == "dvc queue start":
        shell.wait_for_queue()


def test_the_pages_last_folder_has_the_experiment(shell: Shell) -> None:
    assert shell.folder.name == "laptop"
    assert re.search(r"(?m)^  epochs: 2\b", shell.type("cat params.yaml"))
