"""The causes that bench.replay.planted plants, one at a time: where, and what should be said."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from bench.replay.acts import (
    ROWS,
    Act,
    add,
    damage_checkpoint,
    edit,
    flip_bit,
    lines,
    move_data,
    package,
    part,
    remove,
    remove_output,
    swap_rows,
    tamper,
    upgrade,
)

IDENTICAL, DIFFERENT, NOT_COMPARABLE, ERROR = "identical", "different", "not comparable", "error"
SCRIPT = """\
import os, platform, random, sys, time
from pathlib import Path
import numpy as np, torch, runback
import settings
# HEAD

experiment = runback.resume(sys.argv[1]) if sys.argv[1:] else runback.init(params={"rate": 0.05})
with experiment:
    random.seed(3); np.random.seed(3); torch.manual_seed(3)  # SEED
    torch.set_num_threads(1)
    names = sorted(os.listdir("data"))  # NAMES
    rows = torch.tensor(np.concatenate([np.loadtxt(Path("data", n), delimiter=",") for n in names]))
    rows, scale = rows.float(), settings.SCALE
    # SETUP
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    first = 0
    if latest := experiment.latest:
        model.load_state_dict(torch.load(latest.path))
        first = latest.step + 1
    done = 0
    for epoch in runback.epochs(range(first, first + 2), model, optimizer):
        total = 0.0
        for batch in rows.split(16):
            noise = 0.01 * torch.randn(len(batch), 4)
            done += 1
            # STEP
            x, y = batch[:, :4] + noise, batch[:, 4:]
            loss = scale * ((model(x) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        torch.save(model.state_dict(), "model.pt")
        experiment.checkpoint("model.pt", epoch, {"loss": total}, ("loss", "minimize"))
    import mlflow
    mlflow.log_text("trained", "notes.txt")
"""
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Plant:
    """A cause. verdicts: any of these is right. kinds: one of them is the first or second cause.

    code: lines for HEAD, NAMES, SETUP, STEP and SEED of the script. files: besides. before:
    done between recording and replay, with the id of the run. recorded, replayed:
    variables. cores: that the replay may use. noticed: a drift of this kind, restored
    where the verdict is identical; or, of an error, a word of it. first: where the ledgers
    part: at, epoch, step.
    """

    name: str
    verdicts: tuple[str, ...] = (DIFFERENT,)
    kinds: tuple[str, ...] = ()
    noticed: str = ""
    first: Place | None = None
    code: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    before: Act | None = None
    recorded: dict[str, str] = field(default_factory=dict)
    replayed: dict[str, str] = field(default_factory=dict)
    cores: str = ""
    is_resumed: bool = False
    is_short: bool = False


OLD_PYTHON = "import platform\nplatform.python_version = lambda: '3.11.99'\n"
PATH_TINY = {"PYTHONPATH": "../site-packages"}
TINY = {"HEAD": "import tiny", "SETUP": "scale *= tiny.FACTOR"}
WORKERS = """\
workers = len(os.sched_getaffinity(0))
    chances = [torch.Generator().manual_seed(n) for n in range(workers)]"""
PLANTS = (
    Plant("an edited file", (IDENTICAL,), noticed="code",
          before=edit("settings.py", "1.0", "2.0"), is_short=True),
    Plant("an edited file that git ignores", (DIFFERENT, ERROR), ("code",), "code",
          code={"HEAD": "import ignored", "SETUP": "scale *= ignored.FACTOR"},
          files={"ignored.py": "FACTOR = 1.0\n"}, before=edit("ignored.py", "1.0", "2.0")),
    Plant("an untracked module removed", (IDENTICAL,), noticed="code",
          code={"HEAD": "import extra"}, files={"extra.py": "A = 1\n"}, before=remove("extra.py")),
    Plant("a flipped bit in the data", (DIFFERENT,), ("data",), "data", ("step", 0, 2),
          before=flip_bit, is_short=True),
    Plant("two rows swapped", (DIFFERENT,), ("data",), "data", ("step", 0, 2), before=swap_rows),
    Plant("a file added to a listed folder", (DIFFERENT,), ("data",), "data", ("epoch", 0, 4),
          before=add("data/part-2.csv", "\n".join(lines(ROWS)) + "\n")),
    Plant("data gone", (ERROR,), noticed="data", before=move_data),
    Plant("a package one patch version up", (DIFFERENT,), ("package",), "package", ("step", 0, 1),
          code=TINY, files=package("1.0.0", "1.0"), before=upgrade, recorded=PATH_TINY,
          replayed=PATH_TINY),
    Plant("a package's file edited in place", (DIFFERENT,), ("package",), "package", ("step", 0, 1),
          code=TINY, files=package("1.0.0", "1.0"), recorded=PATH_TINY, replayed=PATH_TINY,
          before=edit("../site-packages/tiny/__init__.py", "1.0", "1.1")),
    Plant("another Python patch version", (DIFFERENT,), ("python",), "python", ("step", 0, 1),
          code={"SETUP": "scale += int(platform.python_version().split('.')[2]) * 1e-6"},
          files={"../site-packages/sitecustomize.py": OLD_PYTHON}, recorded=PATH_TINY,
          replayed=PATH_TINY, before=remove("../site-packages/sitecustomize.py")),
    Plant("a thread variable", (IDENTICAL,), noticed="threads",
          code={"SETUP": "scale += int(os.environ['OMP_NUM_THREADS']) * 1e-6"},
          recorded={"OMP_NUM_THREADS": "1"}, replayed={"OMP_NUM_THREADS": "2"}),
    Plant("threads by the number of cores", (DIFFERENT,), ("cores", "threads"), "cores",
          ("step", 0, 1), cores="0",
          code={"SETUP": "torch.set_num_threads(len(os.sched_getaffinity(0)))\n"
                "    scale += 1e-6 * torch.get_num_threads()"}),
    Plant("as many workers as cores", (DIFFERENT,), ("cores",), "cores", ("step", 0, 2), cores="0",
          code={"SETUP": WORKERS, "STEP": "noise = noise + 0.01 * torch.randn("
                "len(batch), 4, generator=chances[(done - 1) % workers])"}),
    Plant("the order of a set, hash seed drawn", (DIFFERENT,), ("seed", "suspect"), "seed",
          ("step", 0, 1), is_short=True, recorded={"PYTHONHASHSEED": ""},
          replayed={"PYTHONHASHSEED": ""},
          code={"SETUP": "scale += int(''.join(map(str, {*'abcdefghijk'})), 36) % 9973 * 1e-6"}),
    Plant("the order of a set, another hash seed", (IDENTICAL,), noticed="variable",
          recorded={"PYTHONHASHSEED": "1"}, replayed={"PYTHONHASHSEED": "2"},
          code={"SETUP": "scale += int(''.join(map(str, {*'abcdefghijk'})), 36) % 9973 * 1e-6"}),
    Plant("an environment variable", (IDENTICAL,), noticed="variable",
          code={"SETUP": "scale *= float(os.environ.get('FACTOR', '1'))"},
          recorded={"FACTOR": "1"}, replayed={"FACTOR": "2"}, is_short=True),
    Plant("an environment variable that was not set", (IDENTICAL,), noticed="variable",
          code={"SETUP": "scale *= float(os.environ.get('FACTOR', '1'))"},
          replayed={"FACTOR": "2"}),
    Plant("a removed seed", (DIFFERENT,), ("seed", "suspect"), first=("begin", 0, 0),
          code={"SEED": "random.seed(3)"}, is_short=True),
    Plant("a seed for numpy alone", (DIFFERENT,), ("seed", "suspect"), first=("begin", 0, 0),
          code={"SEED": "np.random.seed(3)"}),
    Plant("Python's generator not seeded", (DIFFERENT,), ("suspect",), first=("begin", 0, 0),
          code={"SEED": "np.random.seed(3); torch.manual_seed(3)",
                "SETUP": "random.shuffle(names); random.seed()",
                "STEP": "noise = noise + 1e-3 * random.random()"}),
    Plant("os.urandom", (DIFFERENT,), ("suspect",), first=("step", 0, 3), is_short=True,
          # One byte of it is the same once in 256 times.
          code={"STEP": "noise = noise + 1e-12 * int.from_bytes(os.urandom(4)) * (done == 3)"}),
    Plant("the wall clock", (DIFFERENT,), ("suspect",), first=("step", 1, 6),
          code={"STEP": "noise = noise + 1e-4 * (time.time() % 1) * (done == 6)"}),
    Plant("an unordered listing", (DIFFERENT,), ("suspect",), first=("step", 0, 1),
          # In memory the file made last is listed first; a replay has them in order.
          code={"NAMES": 'names = os.listdir("data")'}, files=part(1) | part(0)),
    Plant("a dtype policy in a file at home", (DIFFERENT,), ("seed", "variable"), "seed",
          ("begin", 0, 0),
          code={"HEAD": "import keras",
                "SETUP": "torch.set_default_dtype(getattr(torch, keras.config.floatx()))\n"
                "    rows = rows.to(torch.get_default_dtype())"},
          files={"home/keras.json": json.dumps({"floatx": "float32"})},
          recorded={"KERAS_HOME": "home", "KERAS_BACKEND": "torch"},
          replayed={"KERAS_HOME": "home", "KERAS_BACKEND": "torch"},
          before=edit("home/keras.json", "float32", "float64")),
    Plant("the oneDNN switch", (IDENTICAL,), noticed="variable",
          code={"SETUP": "scale += 1e-6 * float(os.environ.get('TF_ENABLE_ONEDNN_OPTS', '1'))"},
          recorded={"TF_ENABLE_ONEDNN_OPTS": "0"}, replayed={"TF_ENABLE_ONEDNN_OPTS": "1"}),
    Plant("a damaged checkpoint at resume", (ERROR,), noticed="model.pt", is_resumed=True,
          before=damage_checkpoint(1), is_short=True),
    Plant("a metric tampered with", (ERROR,), noticed="metrics.jsonl", before=tamper(False)),
    Plant("a metric and its digest tampered with", (DIFFERENT,), before=tamper(True)),
    Plant("weights tampered with", (DIFFERENT, NOT_COMPARABLE), ("record",), "model.pt",
          before=damage_checkpoint(1), is_short=True),
    Plant("an output removed", (DIFFERENT, NOT_COMPARABLE), noticed="notes.txt",
          before=remove_output),
)  # fmt: skip
