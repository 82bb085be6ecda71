"""What makes a training come out differently each time: each habit planted, and clean ones left."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from runback.replay.suspects import OF_A_KIND_MAX, Suspect, suspects

IMPORTS = """\
import glob, os, random, secrets, time, uuid
import multiprocessing
from concurrent.futures import as_completed
from datetime import datetime
from pathlib import Path
import keras
import numpy as np
import pytorch_lightning as pl
import sklearn.model_selection
import tensorflow as tf
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.utils.data import DataLoader
words, loader, pool, names, d = [], None, None, [], "."
"""
SEEDED = "keras.utils.set_random_seed(1)\n"


def found(tmp_path: Path, code: str) -> list[str]:
    (tmp_path / "train.py").write_text(code)
    return [suspect.kind for suspect in suspects(tmp_path)]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("unseeded generator", "np.random.default_rng()"),
        ("unseeded generator", "np.random.default_rng(None)"),
        ("unseeded generator", "np.random.RandomState()"),
        ("unseeded generator", "random.Random()"),
        ("unseeded generator", "random.seed()"),
        ("system entropy", "os.urandom(8)"),
        ("system entropy", "secrets.randbits(8)"),
        ("system entropy", "uuid.uuid4().int"),
        ("system entropy", "random.SystemRandom()"),
        ("system entropy", "torch.seed()"),
        ("wall clock", "x = time.time() % 1"),
        ("wall clock", "random.Random(int(time.time()))"),
        ("wall clock", "np.random.default_rng(seed=time.time_ns())"),
        ("wall clock", "seed = time.time_ns()"),
        ("wall clock", "x = datetime.now().second"),
        ("wall clock", "lr = 0.1 * time.time()"),
        ("wall clock", "now = time.time()\nlr = now % 7"),
        ("wall clock", "while time.time() < 9: pass"),
        (
            "wall clock",
            "start = time.time()\nfor x in words:\n    if time.time() - start > 60:\n        break",
        ),
        ("set order", 'for x in {"a", "b"}: pass'),
        ("set order", "order = list(set(words))"),
        ("set order", "vocabulary = {w: i for i, w in enumerate(set(words))}"),
        ("set order", "seen = set(words)\nfor x in seen: pass"),
        ("set order", "x = [w for w in set(words) | set(names)]"),
        ("set order", "x = ','.join({w for w in words})"),
        ("set order", "x = np.array(list(frozenset(words)))"),
        ("unordered file listing", "for f in os.listdir(d): pass"),
        ("unordered file listing", "files = list(Path(d).iterdir())"),
        ("unordered file listing", "files = [f for f in glob.glob('*.png')]"),
        ("unordered file listing", "files = Path(d).rglob('*.png')"),
        ("unordered file listing", "for a, b, c in os.walk(d): pass"),
        ("unordered file listing", "tf.data.Dataset.list_files('*.png')"),
        ("data-loader workers", "DataLoader(names, num_workers=2)"),
        ("data-loader workers", "torch.utils.data.DataLoader(names, num_workers=d)"),
        ("cuDNN benchmark", "torch.backends.cudnn.benchmark = True"),
        ("cuDNN benchmark", "pl.Trainer(benchmark=True)"),
        ("TF32", "torch.backends.cuda.matmul.allow_tf32 = True"),
        ("TF32", "torch.set_float32_matmul_precision('high')"),
        ("non-deterministic algorithms", "torch.use_deterministic_algorithms(False)"),
        ("non-deterministic algorithms", "device = torch.device('cuda')"),
        ("non-deterministic algorithms", "loader.cuda()"),
        ("threads left to the machine", "torch.set_num_threads(os.cpu_count())"),
        ("threads left to the machine", "multiprocessing.cpu_count()"),
        ("hash of a text", "x = hash(d) % 8"),
        ("order of completion", "for f in as_completed(words): pass"),
        ("order of completion", "for x in pool.imap_unordered(len, words): pass"),
    ],
)
def test_planted(tmp_path: Path, kind: str, line: str) -> None:
    (tmp_path / "train.py").write_text(IMPORTS + SEEDED + line + "\n")
    told = suspects(tmp_path)
    assert {suspect.kind for suspect in told} == {kind}
    first = IMPORTS.count("\n") + 2
    assert told[0].path == "train.py"
    lines = (IMPORTS + SEEDED + line).splitlines()
    assert told[0].line >= first
    assert told[0].text == lines[told[0].line - 1].strip()


@pytest.mark.parametrize(
    "line",
    [
        "np.random.default_rng(3)",
        "random.Random(3)",
        "start = time.time()\nprint(f'{time.time() - start:.1f} s')",
        "start = time.time()\nms = (time.time() - start) * 1000",
        "name = time.strftime('%Y')",
        "name = datetime.now().strftime('%Y') + '.png'",
        "print(datetime.now().isoformat())",
        "if time.time() - 3 > 10: print(1)",
        "for x in sorted({'a', 'b'}): pass",
        "for x in {1, 2}: pass",
        "n = len(set(words)); ok = 'a' in set(words)",
        "x = sorted(w for w in set(words))",
        "x = {w for w in set(words)}",
        "total = max(len(w) for w in set(words))",
        "seen = set(words)\nseen = list(words)\nfor x in seen: pass",
        "for f in sorted(os.listdir(d)): pass",
        "files = [f for f in sorted(Path(d).glob('*'))]",
        "files = os.listdir(d)\nfiles.sort()",
        "files = list(glob.glob('*'))\nfor f in sorted(files): pass",
        "for a, b, c in os.walk(d):\n    b.sort()",
        "n = len(os.listdir(d))",
        "found = {f.name for f in Path(d).iterdir()}",
        "ok = 'a' in os.listdir(d)",
        "DataLoader(names, num_workers=0)",
        "DataLoader(names, num_workers=2, worker_init_fn=len)",
        "DataLoader(names, num_workers=2, generator=loader)",
        "pl.seed_everything(1, workers=True); DataLoader(names, num_workers=2)",
        "torch.backends.cudnn.benchmark = False",
        "torch.use_deterministic_algorithms(True); torch.device('cuda')",
        "pl.Trainer(deterministic=True, accelerator='gpu')",
        "torch.set_float32_matmul_precision('highest')",
        "class A:\n    def __hash__(self): return hash(d)",
        "nn.Linear(2, 2); np.random.rand(3); random.random(); tf.random.normal([2])",
    ],
)
def test_left_alone(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, IMPORTS + SEEDED + line + "\n") == []


DRAWS = {
    "python": "random.shuffle(words)",
    "numpy": "np.random.rand(3)",
    "torch": "nn.Linear(2, 2)",
    "tensorflow": "tf.random.normal([2])",
    "keras": "keras.layers.Dense(2)",
}
SEEDS = {
    "random.seed(1)": {"python"},
    "np.random.seed(1)": {"numpy"},
    "torch.manual_seed(1)": {"torch"},
    "tf.random.set_seed(1)": {"tensorflow"},
    "keras.utils.set_random_seed(1)": set(DRAWS),
    "tf.keras.utils.set_random_seed(1)": set(DRAWS),
    "pl.seed_everything(1)": {"python", "numpy", "torch"},
    "from runback import determinism\ndeterminism.seed_keras(1, 1)": set(DRAWS),
    "random.seed(time.time())": set[str](),
    "pass": set[str](),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("library", DRAWS)
def test_each_library_and_each_seed(tmp_path: Path, seed: str, library: str) -> None:
    kinds = found(tmp_path, f"{IMPORTS}{seed}\n{DRAWS[library]}\n")
    expected = library in SEEDS[seed] or (library == "keras" and "seed_everything" in seed)
    assert (f"unseeded generator of {library}" not in kinds) == expected


def test_seeded_by_another_file(tmp_path: Path) -> None:
    (tmp_path / "setting.py").write_text("import numpy\ndef seed(): numpy.random.seed(1)\n")
    assert found(tmp_path, "import numpy as np, setting\nsetting.seed()\nnp.random.rand(1)\n") == []


@pytest.mark.parametrize(
    ("line", "is_seeded"),
    [
        ("sklearn.model_selection.train_test_split(words)", False),
        ("sklearn.model_selection.train_test_split(words, random_state=0)", True),
        ("RandomForestClassifier(random_state=None)", False),
        ("RandomForestClassifier(random_state=3)", True),
        ("RandomForestClassifier(**words)", True),
        ("sklearn.model_selection.train_test_split(words, shuffle=False)", True),
        ("sklearn.model_selection.KFold(5, shuffle=True)", False),
        ("sklearn.model_selection.KFold(5, shuffle=True, random_state=0)", True),
        ("sklearn.model_selection.KFold(5)", True),
        ("from sklearn.model_selection import StratifiedKFold as K; K(shuffle=True)", False),
        ("sklearn.model_selection.RepeatedStratifiedKFold()", False),
        ("from sklearn.datasets import make_classification; make_classification(9)", False),
        ("from sklearn import datasets; datasets.make_s_curve(random_state=4)", True),
        ("from sklearn.pipeline import make_pipeline; make_pipeline()", True),
        ("from sklearn import cluster as c; c.MiniBatchKMeans(3)", False),
        ("from sklearn.linear_model import LogisticRegression; LogisticRegression()", True),
        ("from sklearn import metrics; metrics.mutual_info_score(words, words)", True),
        ("from sklearn.linear_model import Perceptron; Perceptron()", True),
        ("DataLoader(words, shuffle=True)", False),
        ("DataLoader(words, shuffle=True, generator=loader)", True),
        ("DataLoader(words, shuffle=True, **words)", False),
        ("nn.init.xavier_uniform_(loader)", False),
        ("nn.ReLU()", True),
        ("random.sample(words, 2)", False),
    ],
)
def test_draws_from_a_shared_generator(tmp_path: Path, line: str, is_seeded: bool) -> None:
    assert (found(tmp_path, f"{IMPORTS}{line}\n") == []) == is_seeded


@pytest.mark.parametrize("seed", ["np.random.seed(1)", "keras.utils.set_random_seed(1)"])
def test_scikit_learn_draws_from_numpys_generator(tmp_path: Path, seed: str) -> None:
    lines = ("sklearn.model_selection.KFold(shuffle=True)", "RandomForestClassifier()")
    code = IMPORTS + "\n".join(lines) + "\n"
    assert found(tmp_path, code) == ["unseeded generator of numpy"]
    assert found(tmp_path, code + seed + "\n") == []


def test_only_what_the_script_reaches(tmp_path: Path) -> None:
    files = {
        "src/train.py": "from lib.data import load\nimport side\n",
        "src/lib/__init__.py": "import os\nos.urandom(1)\n",
        "src/lib/data.py": "from . import deep\n",
        "src/lib/deep.py": "import os\nos.urandom(2)\n",
        "side.py": "import os\nos.urandom(3)\n",
        "other.py": "import os\nos.urandom(4)\n",
        "tests/test_a.py": "import os\nos.urandom(5)\n",
        "venv/pyvenv.cfg": "",
        "venv/a.py": "import os\nos.urandom(6)\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    reached = [suspect.path for suspect in suspects(tmp_path, "src/train.py")]
    assert reached == ["side.py", "src/lib/__init__.py", "src/lib/deep.py"]
    everything = [suspect.path for suspect in suspects(tmp_path)]
    assert everything == ["other.py", *reached]
    assert [s.path for s in suspects(tmp_path, "gone.py")] == everything


def test_imports_from_a_folder_that_the_script_adds(tmp_path: Path) -> None:
    for name in ("src/net.py", "old/net.py", "run/train.py", "plugins/one.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import os\nos.urandom(1)\n")
    script = tmp_path / "run/train.py"
    script.write_text("import sys\nsys.path.insert(0, 'src')\nimport net\n")
    paths = [suspect.path for suspect in suspects(tmp_path, "run/train.py")]
    assert paths == ["old/net.py", "src/net.py"]
    script.write_text("import importlib\nimportlib.import_module(name)\n")
    paths = [suspect.path for suspect in suspects(tmp_path, "run/train.py")]
    assert paths == ["old/net.py", "plugins/one.py", "src/net.py"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"print 'two'", b"x = '\0'", b"(" * 5000, b'"\\d"; import os', b""]
)
def test_what_does_not_parse_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.py").write_bytes(content)
    assert found(tmp_path, "import os\nos.urandom(1)\n") == ["system entropy"]


def test_number_is_bounded(tmp_path: Path) -> None:
    assert len(found(tmp_path, "import os\n" + "os.urandom(1)\n" * 99)) == OF_A_KIND_MAX


def test_nothing_is_run(tmp_path: Path) -> None:
    assert found(tmp_path, "open('made', 'w')\nraise SystemExit\n") == []
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("script", ["train.py", "train_mlflow.py", "train_lightning.py"])
def test_our_own_trainings_have_none(script: str) -> None:
    assert suspects(REPOSITORY, script) == []


def test_our_own_training_without_its_seed(tmp_path: Path) -> None:
    text = (REPOSITORY / "train.py").read_text()
    text = text.replace("determinism.seed_keras(config.seed, config.threads)", "{}")
    (tmp_path / "train.py").write_text(text)
    (told,) = suspects(tmp_path)
    assert told == Suspect(
        "unseeded generator of keras", "train.py", told.line, "model = keras.Sequential("
    )
