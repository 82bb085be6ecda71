"""The README is true: its session runs, its files exist, its commands are those of the code."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, bare_environ, copy_project, lend_environment
from screens import run
from sessions import blocks, pattern, steady, steps

README = (REPOSITORY / "README.md").read_text()
SESSION = steps(blocks(README)[0])
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a copy of the project whose .venv is the environment that runs this."""
    folder = tmp_path_factory.mktemp("readme")
    root = copy_project(folder / "my project", git=True)
    lend_environment(root)
    return root, bare_environ(folder)


@pytest.mark.parametrize(("command", "expected"), SESSION, ids=lambda x: str(x)[:40])
def test_session_prints_what_the_readme_shows(
    place: tuple[Path, dict[str, str]], command: str, expected: list[str]
) -> None:
    root, environ = place
    if command.startswith("./run_script.bash runback"):  # a person's screen; stderr is on it
        screen = run(("bash", "-c", f"{command} 2>/dev/null"), root, environ)
        status, printed = screen.status, screen.text
    else:
        done = subprocess.run(
            command, shell=True, cwd=root, env=environ, stdout=-1, text=True, timeout=300
        )
        status, printed = done.returncode, done.stdout
    assert status == 0, printed
    assert re.fullmatch(pattern(expected), steady(printed)), printed


def test_same_weights_as_shown_come_twice() -> None:
    """The point of the first screen."""
    assert len(set(re.findall(r"weights (sha256:\w+)", README))) == 1


def test_a_changed_session_would_be_noticed() -> None:
    lines = ["Epoch 1/3", "…", "val_accuracy 0.9444  weights sha256:98b061d5b287"]
    printed = "Epoch 1/3\nx\nval_accuracy 0.1234  weights sha256:000000000000\n"
    assert re.fullmatch(pattern(lines), steady(printed))
    assert not re.fullmatch(pattern(lines), steady(printed.replace("Epoch 1", "Epoch 2")))
    assert not re.fullmatch(pattern(lines), steady(printed + "more\n"))


def test_one_page() -> None:
    assert len(README.splitlines()) <= 160


def test_commands_name_what_exists() -> None:
    commands = re.findall(r"\./run_script\.bash ([^`#\n]+)", README)
    for words in map(shlex.split, commands):
        scripts = [w for w in words if w.endswith((".py", ".bash"))]
        assert all((REPOSITORY / script).exists() for script in scripts), words


def test_file_tree_is_the_repositorys() -> None:
    tree = README.rpartition("```\n\nApache")[0].rpartition("```\n")[2]
    names = re.findall(r"(?m)^(.+?)  ", tree)
    named = {name.rstrip("/") for line in names for name in line.split(", ")}
    tracked = subprocess.check_output(["git", "ls-files"], cwd=REPOSITORY, text=True).split("\n")
    top = {path.split("/")[0] for path in tracked if path}
    unnamed = {".ci", ".dockerignore", ".gitignore", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    unnamed |= {".dvcignore", ".gitattributes"}
    assert named == top - unnamed - {"LICENSE", "pyproject.toml"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_variables_of_the_documents_are_those_of_the_code() -> None:
    code = "".join(
        p.read_text() for p in [*REPOSITORY.glob("runback/**/*.py"), *REPOSITORY.glob("docker/*")]
    )
    documented = set(
        re.findall(r"(?<!_)RUNBACK_[A-Z_]+", "".join(p.read_text() for p in DOCUMENTS))
    )
    assert documented <= set(re.findall(r"RUNBACK_[A-Z_]+", code))


def test_pins_that_the_readme_names_are_the_locks() -> None:
    lock = (REPOSITORY / "requirements.txt").read_text()
    named = re.findall(r"(MLflow|TensorFlow|Keras|torch|Lightning|JupyterLab)\s+(\d+\.\d+)", README)
    assert len(named) == 6
    for name, version in named:
        package = {"Lightning": "pytorch-lightning"}.get(name, name.lower())
        assert re.search(rf"^{package}=={re.escape(version)}\.", lock, flags=re.MULTILINE), name
