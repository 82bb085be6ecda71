"""DVCLive's callbacks beside ours in one training: each writes what it does alone."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path

import dvcs
import pytest
from conftest import REPOSITORY
from dvcs import DvcProject
from records import query

KERAS = """\
from runback import determinism

determinism.prepare(threads=1)
determinism.seed_keras(3, 1)
import keras, mlflow, numpy as np, runback, runback.keras
from dvclive import Live
from dvclive.keras import DVCLiveCallback

x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
with runback.init(name="keras") as experiment:
    mlflow.keras.autolog(log_models=False)
    live = Live("dvclive/keras", dvcyaml=False, save_dvc_exp=False)
    live.summary["run_id"] = experiment.id
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    callbacks = [
        DVCLiveCallback(live=live),
        runback.keras.CheckpointCallback(primary_metric=("val_loss", "minimize")),
    ]
    data = (x, x.sum(axis=1))
    model.fit(*data, validation_data=data, epochs=2, verbose=0, callbacks=callbacks)
"""
LIGHTNING = """\
import warnings

warnings.simplefilter("ignore")
from runback import determinism

determinism.prepare(threads=1)
determinism.seed_lightning(3, 1)
import mlflow, pytorch_lightning as pl, runback, runback.lightning, torch
from dvclive.lightning import DVCLiveLogger
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        loss = ((self.layer(batch[0])[:, 0] - batch[1]) ** 2).mean()
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
with runback.init(name="lightning") as experiment:
    mlflow.pytorch.autolog(log_models=False, checkpoint=False)
    logger = DVCLiveLogger(dir="dvclive/lightning", dvcyaml=False, save_dvc_exp=False)
    logger.experiment.summary["run_id"] = experiment.id
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", deterministic=True, logger=logger, log_every_n_steps=1,
        callbacks=[runback.lightning.CheckpointCallback(primary_metric=("loss", "minimize"))],
        enable_model_summary=False, enable_progress_bar=False,
    )
    trainer.fit(Net(), DataLoader(TensorDataset(x, x.sum(dim=1)), batch_size=16))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """Return a project whose Python has DVCLive too, behind its own packages."""
    folder = tmp_path_factory.mktemp("dvclive")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    behind = dvcs.environment() / "lib" / version / "site-packages"
    path = os.pathsep.join(map(str, (REPOSITORY, sysconfig.get_path("purelib"), behind)))
    made = DvcProject(folder / "project", dvcs.environ(folder))
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    made.dvc("init", "--quiet")
    made.write(".gitignore", f"{dvcs.IGNORED}/dvclive/\n")
    made.write("train_keras.py", KERAS)
    made.write("train_lightning.py", LIGHTNING)
    made.commit("start")
    return DvcProject(made.root, {**made.environ, "PYTHONPATH": path})


def curve(path: Path) -> list[tuple[int, float]]:
    """Return the steps and values of a curve of DVCLive's."""
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return [(int(step), float(value)) for step, value in rows]


def logged(project: DvcProject, run_id: str, key: str) -> list[tuple[int, float]]:
    """Return the steps and values that MLflow has, in order; as often as they were logged."""
    sql = "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step"
    found = query(project.root / "mlflow.db", sql, run_id, key)
    return [(int(step), float(value)) for step, value in found]


@pytest.mark.parametrize(
    ("framework", "metric", "curve_of"),
    [("keras", "val_loss", "eval/loss"), ("lightning", "loss", "loss")],
)
def test_both_write(project: DvcProject, framework: str, metric: str, curve_of: str) -> None:
    project.run("python", f"train_{framework}.py")
    live = project.root / "dvclive" / framework
    run_id = project.runback("ls", "-q", framework).strip()
    assert json.loads((live / "metrics.json").read_text())["run_id"] == run_id
    written = (live / "metrics.json").read_bytes()
    ours = [value for _, value in logged(project, run_id, metric)]
    theirs = [value for _, value in curve(live / "plots" / "metrics" / f"{curve_of}.tsv")]
    assert len(theirs) == 2
    assert sorted(set(ours)) == pytest.approx(sorted(theirs))
    best = json.loads(project.runback("show", "--json", framework))["best"]
    assert best["metric"] == metric
    assert best["value"] == pytest.approx(min(theirs))
    assert project.runback("replay", framework).startswith("identical")
    assert (live / "metrics.json").read_bytes() == written  # the replay's lie in its own folder
    assert project.git("for-each-ref", "refs/exps/*/*") == ""
    assert project.git("status", "--porcelain") == ""
