"""A replayed process that goes on from a checkpoint: of the step asked for, or as it did then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from records import query
from training import Store, make

from runback.record import files

ATTEMPT = "0123abcd"
# Weights that hang on the optimizer, on the order of the data and on dropout, all of them drawn.
TORCH = """
import json, random, sys, torch, runback
from runback.digests import digest_tensors
torch.manual_seed(1); random.seed(1); torch.set_num_threads(1)
epochs, resumed = int(sys.argv[1]), sys.argv[2]
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
experiment = runback.resume(resumed) if resumed else runback.init(params={"lr": 0.01}, name="half")
first, latest, best = 0, experiment.latest, experiment.best
if latest:
    kept = torch.load(latest.path)
    model.load_state_dict(kept["model"]); optimizer.load_state_dict(kept["optimizer"])
    torch.set_rng_state(kept["random"])
    first = latest.step + 1
for epoch in range(first, epochs):
    total = 0.0
    for batch in torch.randperm(64).split(16):
        loss = ((model(x[batch]).sum(dim=1) - x[batch].sum(dim=1)) ** 2).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        total += loss.item()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "random": torch.get_rng_state()}, "model.pt")
    experiment.checkpoint("model.pt", metrics={"loss": total}, primary_metric=("loss", "minimize"))
experiment.stop()
state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
print(json.dumps([experiment.id, first, best.step if best else None, digest_tensors(state)]))
"""


@pytest.fixture
def store(tmp_path: Path, template: Path) -> Store:
    return make(tmp_path / "store", template)


def said(store: Store, code: str, *arguments: str, **environ: str) -> list[Any]:
    done = store.train(code, *arguments, **environ)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def replayed(run_id: str, step: int | None = None) -> dict[str, str]:
    found = {"RUNBACK_REPLAY": run_id, "RUNBACK_REPLAY_ATTEMPT": ATTEMPT}
    return found if step is None else {**found, "RUNBACK_REPLAY_FROM": str(step)}


def points(store: Store, run_id: str, name: str = "loss") -> list[tuple[int, float]]:
    return sorted((p.step, p.value) for p in store.logged(run_id) if p.key == name)


def tags(store: Store, run_id: str) -> dict[str, str]:
    return dict(query(store.database, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))


def everything_of(store: Store, run_id: str) -> dict[str, bytes]:
    folder = store.record(run_id).parent
    found = {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {**found, "rows": repr((points(store, run_id), tags(store, run_id))).encode()}


def test_loop_starts_from_the_step_asked_for_and_ends_with_the_same_bits(store: Store) -> None:
    original, _, _, weights = said(store, TORCH, "6", "")
    before = everything_of(store, original)
    again, first, _, same = said(store, TORCH, "6", "", **replayed(original, 3))
    assert (first, same) == (4, weights)
    assert again != original
    assert points(store, again) == points(store, original)[4:]
    assert tags(store, again)["runback.replay_from"] == "3"
    assert tags(store, again)["runback.primary_metric"] == "loss minimize"
    assert everything_of(store, original) == before
    assert said(store, TORCH, "6", "")[1] == 0  # outside of a replay nothing is taken up
    whole, first, _, same = said(store, TORCH, "6", "", **replayed(original))
    assert (first, same) == (0, weights)
    assert "runback.replay_from" not in tags(store, whole)


def test_run_that_was_resumed_goes_on_as_it_did(store: Store) -> None:
    original, *_ = said(store, TORCH, "3", "")
    _, first, best, weights = said(store, TORCH, "6", "half")
    assert first == 3
    before = everything_of(store, original)
    again = said(store, TORCH, "6", "half", **replayed(original))
    assert again[0] != original
    assert again[1:] == [3, best, weights]
    assert points(store, again[0]) == points(store, original)[3:]
    assert tags(store, again[0])["runback.replay_from"] == "2"
    names = query(store.database, "SELECT DISTINCT name, experiment_id FROM runs")
    assert names == [("half", 0)]
    assert everything_of(store, original) == before
    # Its own name, and that of a run of this store, mean the original; a step goes before.
    assert said(store, TORCH, "6", "@latest", **replayed(original))[1:] == [3, best, weights]
    assert said(store, TORCH, "6", original[:8], **replayed(original, 4))[1:] == [5, 4, weights]


SAME_PROCESS = """
import runback
first = runback.init(name="whole")
first.checkpoint(metrics={"loss": 1.0})
first.stop()
again = runback.resume(first.id)
again.stop()
print(again.id == first.id)
"""


def test_run_of_the_replay_itself_is_resumed_as_any(store: Store) -> None:
    original, *_ = said(store, TORCH, "1", "")
    done = store.train(SAME_PROCESS, **replayed(original))
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_checkpoints_that_cannot_be_started_from(store: Store) -> None:
    original, *_ = said(store, TORCH, "3", "")
    done = store.train(TORCH, "3", "", **replayed(original, 9))
    assert (
        f"run {original[:8]} has no checkpoint with files of step 9; it has those of 0, 1, 2"
        in (done.stderr)
    )
    sql = "SELECT artifact_location FROM logged_models JOIN inputs ON destination_id = model_id"
    ((folder,),) = query(store.database, f"{sql} WHERE source_id = ? AND step = 1", original)
    path = Path(folder, "model.pt")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    done = store.train(TORCH, "3", "", **replayed(original, 1))
    assert done.returncode == 1
    assert f"RecordError: {path} differs from its digest" in done.stderr
    done = store.train(TORCH, "3", "half", **replayed(original))
    assert "its record does not say when it was resumed" in done.stderr
    assert files.digest(path)  # nobody mended it


KERAS = """
import json, sys
from runback import determinism
determinism.prepare(threads=1)
determinism.seed_keras(3, 1)
import keras, numpy as np, runback.keras
from runback.digests import digest_tensors
x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5),
          keras.layers.GaussianNoise(0.1), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile(keras.optimizers.Adam(0.01), "mse")
callback = runback.keras.CheckpointCallback(primary_metric=("loss", "minimize"))
history = model.fit(x, x.sum(axis=1), epochs=5, batch_size=16, verbose=0, validation_split=0.25,
                    callbacks=[callback])
weights = digest_tensors({str(n): w for n, w in enumerate(model.get_weights())})
print(json.dumps([history.epoch, weights]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_keras_callback_starts_from_the_step_by_itself(store: Store, backend: str) -> None:
    epochs, weights = said(store, KERAS, KERAS_BACKEND=backend)
    (original,) = store.runs()
    assert epochs == [0, 1, 2, 3, 4]
    again = said(store, KERAS, KERAS_BACKEND=backend, **replayed(original, 1))
    assert again == [[2, 3, 4], weights]
    (other,) = store.runs().keys() - {original}
    assert points(store, other, "val_loss") == points(store, original, "val_loss")[2:]
    mended = KERAS.replace("Dense(8", "Dense(9")
    done = store.train(mended, KERAS_BACKEND=backend, **replayed(original, 1))
    assert "CheckpointFailed: this model cannot go on from the checkpoint of step 1" in done.stderr


LIGHTNING = """
import json, warnings
warnings.simplefilter("ignore")
import pytorch_lightning as pl, torch, runback, runback.lightning
from runback.digests import digest_tensors
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
pl.seed_everything(3, verbose=False)

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    def training_step(self, batch, index):
        loss = ((self.layers(batch[0])[:, 0] - batch[1]) ** 2).mean()
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss
    def validation_step(self, batch, index):
        self.log("val_loss", ((self.layers(batch[0])[:, 0] - batch[1]) ** 2).mean())
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
data = TensorDataset(x, x.sum(dim=1))
experiment = runback.init()
latest = experiment.latest
trainer = pl.Trainer(
    max_epochs=5, accelerator="cpu", logger=False, enable_model_summary=False,
    enable_progress_bar=False, callbacks=[runback.lightning.CheckpointCallback()],
)
module = Net()
trainer.fit(module, DataLoader(data, batch_size=16, shuffle=True), DataLoader(data, batch_size=16),
            ckpt_path=latest.path if latest else None)
experiment.stop()
weights = digest_tensors({name: t.numpy() for name, t in module.state_dict().items()})
print(json.dumps([latest.step if latest else None, weights]))
"""


def test_lightning_starts_from_the_step_as_its_page_says(store: Store) -> None:
    start, weights = said(store, LIGHTNING)
    (original,) = store.runs()
    assert start is None
    assert said(store, LIGHTNING, **replayed(original, 2)) == [2, weights]
    (other,) = store.runs().keys() - {original}
    assert points(store, other, "val_loss") == points(store, original, "val_loss")[3:]
