"""The notebook, run from top to bottom in stores that have everything, or nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from conftest import REPOSITORY, copy_project, plain_environ
from pictures import LARK, OWL, add, curve
from records import make_store, run_index

NOTEBOOK = REPOSITORY / "notebooks" / "explore.ipynb"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
STRIP = (
    "./run_script.bash jupyter nbconvert --clear-output --inplace"
    " --ClearMetadataPreprocessor.enabled=True"
    " --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec notebooks/explore.ipynb"
)
FIGURES = {"curves", "scatter", "history", "filters"}
NO_RUN = "No run has learning_rate and val_accuracy yet: ./run_script.bash python train_mlflow.py\n"
NO_FILE = "No checkpoint with a .keras, .pt or .ckpt file: docs/python.md says how to keep them.\n"
TORCH = """
import sys, torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 4), torch.nn.Linear(2, 1))
torch.save({"model": net.state_dict(), "epoch": 3}, sys.argv[1])
"""


class Trap:
    """What a pickle can be: unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


@dataclass(frozen=True)
class Executed:
    """What each cell has printed and shown, by its id."""

    printed: dict[str, str]
    shown: dict[str, dict[str, str]]

    @property
    def figures(self) -> set[str]:
        return {cell for cell, found in self.shown.items() if "image/png" in found}


def source() -> dict[str, Any]:
    return dict(json.loads(NOTEBOOK.read_text()))


def execute(notebook: Path, *replaced: tuple[str, str]) -> Executed:
    """Copy the notebook there, with lines of it replaced, and run it. No cell may warn."""
    text = NOTEBOOK.read_text()
    for old, new in replaced:
        assert text.count(old) == 1
        text = text.replace(old, new)
    notebook.parent.mkdir(exist_ok=True)
    notebook.write_text(text)
    jupyter = {f"JUPYTER_{n}_DIR": str(notebook.parent / ".j") for n in ("CONFIG", "RUNTIME")}
    words = ("-m", "nbconvert", "--to", "notebook", "--inplace", "--execute", notebook.name)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=notebook.parent,
        env=plain_environ(IPYTHONDIR=str(notebook.parent / ".i"), **jupyter),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return read(json.loads(notebook.read_text()))


def read(content: dict[str, Any]) -> Executed:
    printed, shown = dict[str, str](), dict[str, dict[str, str]]()
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                assert output["name"] == "stdout", output
                printed[cell["id"]] = printed.get(cell["id"], "") + "".join(output["text"])
            else:
                data = {kind: "".join(text) for kind, text in output["data"].items()}
                shown[cell["id"]] = {**shown.get(cell["id"], {}), **data}
    return Executed(printed, shown)


def left_behind(content: dict[str, Any]) -> list[str]:
    """Return the cells that hold what a machine has put there, and the metadata that it has."""
    found = [
        cell["id"]
        for cell in content["cells"]
        if cell["metadata"] or cell.get("outputs") or cell.get("execution_count") is not None
    ]
    return found + [name for name, kept in content["metadata"].items() if kept != KERNEL]


def test_no_output_is_kept() -> None:
    assert left_behind(source()) == [], f"before a commit: {STRIP}"


def test_an_output_would_be_noticed_and_the_command_takes_it_out(tmp_path: Path) -> None:
    content = source()
    content["cells"][1] |= {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["/home/ada"]}],
        "metadata": {"execution": {"iopub.status.busy": "2026-11-22T00:14:25Z"}},
    }
    content["cells"][3]["execution_count"] = 7
    content["metadata"]["language_info"] = {"name": "python", "version": "3.11.2"}
    cells = [content["cells"][1]["id"], content["cells"][3]["id"]]
    assert left_behind(content) == [*cells, "language_info"]
    copy = tmp_path / "explore.ipynb"
    copy.write_text(json.dumps(content))
    words = STRIP.split()[2:-1]
    environ = plain_environ(JUPYTER_CONFIG_DIR=str(tmp_path))
    command = [sys.executable, "-m", *words, str(copy)]
    subprocess.run(command, check=True, capture_output=True, env=environ)
    assert copy.read_bytes() == NOTEBOOK.read_bytes()


def test_runs_of_the_template_from_the_notebooks_folder(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "my project")
    train = [sys.executable, "train_mlflow.py", "--epochs", "2"]
    environ = {k: v for k, v in plain_environ().items() if k != "PYTHONPATH"}
    subprocess.run(train, cwd=root, env=environ, check=True, capture_output=True, timeout=300)
    for run_id, name, more in ((OWL, "owl", {}), (LARK, "lark", {"runback__replay_of": OWL})):
        points = [*curve("val_accuracy", lambda step: step / 20), *curve("loss", lambda step: 1.0)]
        add(root, run_id, name, points, {"learning_rate": "0.1", "epochs": "12"}, **more)
    run_index(root)
    found = execute(root / "notebooks" / "explore.ipynb")
    assert found.figures == FIGURES
    assert (found.printed, len(found.shown["table"]["text/html"].split("<tr>"))) == ({}, 1 + 3)
    assert "lark" not in found.shown["table"]["text/html"]
    pair = found.shown["pair"]["text/html"]
    assert all(word in pair for word in ("1a2b3c4d owl", "params.epochs", "params.learning_rate"))
    assert "params.seed" not in pair
    assert "conv2d/vars/0" in found.shown["checkpoint"]["text/html"]


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return make_store(tmp_path / "project", template)


OTHER_NAMES = (
    (
        'PARAM, METRIC = \\"learning_rate\\", \\"val_accuracy\\"',
        'PARAM, METRIC = \\"lr\\", \\"loss\\"',
    ),
    ('CURVES = [\\"loss\\", \\"val_loss\\"]', 'CURVES = [\\"loss\\"]'),
)


def test_torch_checkpoint_from_the_projects_folder(root: Path) -> None:
    path = root / "model.pt"
    subprocess.run([sys.executable, "-c", TORCH, str(path)], check=True)
    contents = [b"of before", path.read_bytes()]
    checkpoints.make_run(root, [0.5, 0.25], contents)
    run_index(root)
    found = execute(root / "explore.ipynb", *OTHER_NAMES)
    assert found.figures == FIGURES
    assert found.printed == {"pair": "It takes two runs.\n"}
    weights = found.shown["checkpoint"]["text/html"]
    assert all(word in weights for word in ("0.weight", "(4, 4, 3, 5)", "1.bias"))


def test_no_pickle_is_loaded(root: Path) -> None:
    import pickle

    checkpoints.make_run(root, [0.5], [pickle.dumps(Trap(), protocol=2)])
    run_index(root)
    found = execute(root / "explore.ipynb", *OTHER_NAMES)
    assert found.printed["checkpoint"].startswith("Weights only load failed")
    assert found.printed["checkpoint"].endswith(NO_FILE)
    assert found.figures == FIGURES - {"filters"}
    assert not (root / "sprung").exists()


def test_runs_without_a_checkpoint(root: Path) -> None:
    points = curve("val_accuracy", lambda step: math.nan if step == 4 else step / 20)
    add(root, OWL, "owl", points, {"learning_rate": "cosine"})
    run_index(root)
    found = execute(root / "notebooks" / "explore.ipynb")
    expected = {"curves": NO_RUN, "pair": "It takes two runs.\n", "checkpoint": NO_FILE}
    assert (found.figures, found.printed) == ({"scatter", "history"}, expected)


def test_without_a_run_it_says_how_to_make_one(root: Path) -> None:
    found = execute(root / "notebooks" / "explore.ipynb")
    assert found.printed == {
        **dict.fromkeys(("table", "curves", "scatter"), NO_RUN),
        "pair": "It takes two runs.\n",
        "checkpoint": NO_FILE,
    }
    assert found.figures == set()


def test_without_a_store_it_says_where_it_looked(tmp_path: Path) -> None:
    found = execute(tmp_path / "notebooks" / "explore.ipynb")
    folder = tmp_path / "notebooks"
    assert found.printed["runs"].startswith(f"there is no mlflow.db in {folder}\n")
    assert found.printed["table"] == NO_RUN
