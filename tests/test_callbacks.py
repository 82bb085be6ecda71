"""The callbacks of Keras and Lightning: what they keep, and that a training goes on from it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from records import query
from test_lock import need_package_index
from training import Store, make

from runback import keras, lightning
from runback.checkpoints.callback import Keeper
from runback.checkpoints.errors import WrongArguments
from runback.errors import PackageMissing
from runback.record import checkpoint

# Arguments: a name for the run, at which epoch to stop, and the run to go on with, if any.
KERAS = """
import json, os, sys
name, epochs, resumed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
from runback import determinism
determinism.prepare(threads=1)
determinism.seed_keras(3, 1)
import keras, numpy as np, runback, runback.keras
from runback.digests import digest_tensors

chance = np.random.default_rng(1)
x = chance.normal(size=(64, 4)).astype("float32")
y = (x.sum(axis=1) > 0).astype("float32")
callback = runback.keras.CheckpointCallback(
    primary_metric=("val_loss", "minimize"), period=2, params=None if resumed else {"lr": 0.01}
)
if resumed:
    experiment = runback.resume(resumed)
    model = keras.saving.load_model(experiment.latest.path)
    first = experiment.latest.step + 1
else:
    layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    experiment, first = runback.init(name=name), 0
model.fit(x, y, epochs=epochs, initial_epoch=first, shuffle=False, batch_size=16, verbose=0,
          validation_data=(x, y), callbacks=[callback])
experiment.stop()
weights = digest_tensors({str(n): w for n, w in enumerate(model.get_weights())})
print(json.dumps([experiment.id, first, weights]))
"""
LIGHTNING = """
import json, sys
name, epochs, resumed, package = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
import warnings
warnings.simplefilter("ignore")
import importlib, torch, runback
pl = importlib.import_module(package)
import runback.lightning
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
pl.seed_everything(3, verbose=False)

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    def training_step(self, batch, index):
        loss = ((self.layers(batch[0])[:, 0] - batch[1]) ** 2).mean()
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss
    def validation_step(self, batch, index):
        self.log("val_loss", ((self.layers(batch[0])[:, 0] - batch[1]) ** 2).mean())
    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
loader = DataLoader(TensorDataset(x, x.sum(dim=1)), batch_size=16)
callback = runback.lightning.CheckpointCallback(primary_metric=("val_loss", "minimize"), period=2)
assert isinstance(callback, pl.callbacks.Checkpoint)
experiment = runback.resume(resumed) if resumed else None
path = str(experiment.latest.path) if resumed else None
trainer = pl.Trainer(
    max_epochs=epochs, accelerator="cpu", callbacks=[callback], logger=False,
    enable_model_summary=False, enable_progress_bar=False,
)
module = Net()
trainer.fit(module, loader, loader, ckpt_path=path)
from runback.digests import digest_tensors
state = {k: v.numpy() for k, v in module.state_dict().items()}
import mlflow
active = mlflow.active_run()
print(json.dumps([experiment.id if experiment else "", active is None, digest_tensors(state)]))
if experiment:
    experiment.stop()
"""
PACKAGES = ("pytorch_lightning", "lightning.pytorch")


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return make(tmp_path / "store", template)


def said_by(store: Store, code: str, *words: str, **environ: str) -> list[Any]:
    done = store.train(code, *words, **environ)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def steps(store: Store, run_id: str) -> list[int]:
    sql = (
        "SELECT step FROM inputs JOIN logged_models ON model_id = destination_id"
        " WHERE source_run_id = ? AND status = 2 ORDER BY step"
    )
    return [step for (step,) in query(store.database, sql, run_id)]


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_keras_goes_on_from_a_checkpoint_to_the_bit(store: Store, backend: str) -> None:
    environ = {"KERAS_BACKEND": backend, "PYTHONHASHSEED": "0"}
    whole, _, weights = said_by(store, KERAS, "whole", "7", "", **environ)
    assert steps(store, whole) == [1, 3, 5]
    half, _, other = said_by(store, KERAS, "half", "4", "", **environ)
    assert (steps(store, half), other == weights) == ([1, 3], False)
    again, first, weights_again = said_by(store, KERAS, "", "7", half, **environ)
    assert (again, first, weights_again) == (half, 4, weights)
    assert steps(store, half) == [1, 3, 5]
    assert store.runs() == {whole: "FINISHED", half: "FINISHED"}
    tags = dict(query(store.database, "SELECT key, value FROM tags WHERE run_uuid = ?", half))
    assert tags["runback.primary_metric"] == "val_loss minimize"
    losses = [(p.step, p.value) for p in store.logged(half) if p.key == "val_loss"]
    assert losses == [(p.step, p.value) for p in store.logged(whole) if p.key == "val_loss"]


@pytest.fixture(scope="module")
def with_lightning(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PYTHONPATH with `lightning`, of pytorch_lightning's version.

    It is not in the lock: where both are installed, MLflow's autolog loads both, and
    Lightning says everything twice.
    """
    need_package_index()
    folder, package = (
        tmp_path_factory.mktemp("lightning"),
        f"lightning=={version('pytorch-lightning')}",
    )
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package]
    subprocess.run([sys.executable, *command], check=True)
    return f"{REPOSITORY}{os.pathsep}{folder}"


@pytest.mark.parametrize("package", PACKAGES)
def test_lightning_goes_on_from_a_checkpoint_to_the_bit(
    store: Store, package: str, request: pytest.FixtureRequest
) -> None:
    is_other = package == "lightning.pytorch"
    path = request.getfixturevalue("with_lightning") if is_other else str(REPOSITORY)
    said = functools.partial(said_by, PYTHONPATH=path)
    _, ended, weights = said(store, LIGHTNING, "", "7", "", package)
    assert ended
    (whole,) = store.runs()
    assert steps(store, whole) == [1, 3, 5]
    _, _, other = said(store, LIGHTNING, "", "4", "", package)
    assert other != weights
    (half,) = store.runs().keys() - {whole}
    run_id, _, weights_again = said(store, LIGHTNING, "", "7", half, package)
    assert (run_id, weights_again) == (half, weights)
    assert steps(store, half) == [1, 3, 5]
    assert set(store.runs().values()) == {"FINISHED"}
    model = query(store.database, "SELECT model_id, artifact_location FROM logged_models")[0]
    described = checkpoint.read(Path(model[1]), model[0])
    assert (described.path, sorted(described.metrics)) == ("model.ckpt", ["loss", "val_loss"])


FITS = """
import os
os.environ["RUNBACK_RECORD"] = "0"
import keras, mlflow, numpy as np, runback.keras

x = np.ones((4, 1), "float32")
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
def fit(lr, hook=None, callback=None, name="val_loss"):
    callback = callback or runback.keras.CheckpointCallback(
        primary_metric=(name, "minimize"), params={"lr": lr})
    others = [keras.callbacks.LambdaCallback(on_epoch_begin=hook)] if hook else []
    model.fit(x, x, epochs=3, verbose=0, validation_data=(x, x), validation_freq=2,
              callbacks=[callback, *others])
    return callback
def fail(epoch, logs=None):
    if epoch == 1:
        raise KeyError("no such column")
def failed(**more):
    try:
        fit(0.1, fail, **more)
    except KeyError:
        pass
callback = fit(0.1)
assert mlflow.active_run() is None
failed(callback=callback)
fit(0.1, callback=callback, name="loss")
failed()
fit(0.2, lambda epoch, logs=None: epoch == 1 and fit(0.2), name="val_los")
failed()
"""


def test_keras_fits_that_fail_and_go_on(store: Store) -> None:
    done = store.train(FITS, KERAS_BACKEND="torch")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("runback: ")]
    warning = "runback: warning: no checkpoint has the primary metric 'val_los' (loss, val_loss)"
    assert warnings == [warning]
    assert done.returncode == 0, done.stderr
    rows = query(store.database, "SELECT run_uuid, status FROM runs ORDER BY start_time")
    statuses = [status for _, status in rows]
    assert statuses == ["FINISHED", "FAILED", "FINISHED", "FAILED", "FINISHED", "FAILED"]
    kept = [steps(store, str(run_id)) for run_id, _ in rows]
    assert kept == [[0, 1, 2], [0], [0, 1, 2], [0], [0, 0, 1, 1, 2, 2], [0]]
    best = query(store.database, "SELECT value FROM tags WHERE key = 'runback.best' LIMIT 1")
    assert json.loads(best[0][0])["step"] == 1


FAILING = """
import sys, os
os.environ["RUNBACK_RECORD"] = "0"
import pytorch_lightning as pl, torch, runback.lightning
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        if self.current_epoch == 2:
            raise KeyError("no such column")
        return self.layer(batch).mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.ones(4, 1))
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, enable_model_summary=False,
    enable_progress_bar=False, callbacks=[runback.lightning.CheckpointCallback("last.ckpt")],
)
try:
    trainer.fit(Net(), loader)
except KeyError:
    print("failed")
"""


def test_lightning_training_that_fails_ends_its_run(store: Store) -> None:
    done = store.train(FAILING)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["failed"]), done.stderr
    ((run_id, status),) = store.runs().items()
    assert (status, steps(store, run_id)) == ("FAILED", [0, 1])


def test_wrong_arguments_are_said_together() -> None:
    with pytest.raises(WrongArguments) as raised:
        Keeper("runback", ("loss", "max"), 0, {"a%": 1})
    assert len(raised.value.problems) == 4


def test_weights_alone_are_saved_under_the_name_that_keras_asks_for() -> None:
    assert keras._Hooks("a/best.keras", save_weights_only=True)._keeper.name == "best.weights.h5"
    assert keras._Hooks("a/x.weights.h5", save_weights_only=True)._keeper.name == "x.weights.h5"


def test_neither_lightning_is_installed() -> None:
    with pytest.raises(PackageMissing, match="lightning, not installed here"):
        lightning._made("CheckpointCallback")
