"""The ledger: what it holds of a training, that it changes none, and that it is read safely."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import query
from training import Store, make

from runback import epochs
from runback.capture import ledger as capture
from runback.capture.ledger import Queue
from runback.errors import RecordError
from runback.ledger import tensors
from runback.ledger.fit import is_noted
from runback.ledger.loop import WrongEpochs
from runback.record import check, files, ledger, manifest
from runback.record.ledger import Line

WITHOUT = "without"
# Each training of a script is given RUNBACK_LEDGER anew, and says the digest of its weights.
LEVELS = (WITHOUT, "off", "epoch", "step")
SHARED = """
import json, os, warnings
warnings.simplefilter("ignore")
from runback import determinism
determinism.prepare(threads=1)
import mlflow, numpy as np, runback
from runback.digests import digest_tensors

found = {}
def digest(weights):
    return digest_tensors({str(n): w for n, w in enumerate(weights)})
def trained(name, training):
    for level in ("without", "off", "epoch", "step"):
        os.environ["RUNBACK_LEDGER"] = level.replace("without", "off")
        with mlflow.start_run(run_name=f"{name} {level}"):
            found[f"{name} {level}"] = digest(training(level != "without"))
"""
KERAS = (
    SHARED
    + """
from concurrent.futures import ThreadPoolExecutor
import keras, runback.keras
from runback.keras import CheckpointCallback, LedgerCallback
determinism.seed_keras(3, 1)

chance = np.random.default_rng(1)
x = chance.normal(size=(64, 4)).astype("float32")
y = (x.sum(axis=1) > 0).astype("float32")

def model_of(seed=3):
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3),
              keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model
def fit(model, *callbacks, **more):
    model.fit(x, y, **{"epochs": 2, "batch_size": 16, "verbose": 0, **more}, callbacks=callbacks)
    return model.get_weights()

trained("plain", lambda is_noted: fit(model_of(), *([LedgerCallback()] if is_noted else [])))
os.environ["RUNBACK_LEDGER"] = "every step"
with mlflow.start_run(run_name="several"):
    model, both = model_of(), [LedgerCallback(), CheckpointCallback()]
    fit(model, *both, validation_data=(x, y))
    fit(model, *both, epochs=6, initial_epoch=4)
    def fail(epoch, logs=None):
        raise KeyError(epoch)
    try:
        fit(model, *both, keras.callbacks.LambdaCallback(on_epoch_end=fail))
    except KeyError:
        pass
    inner = lambda epoch, logs=None: fit(model_of(5), CheckpointCallback(), epochs=1)
    fit(model, LedgerCallback(), keras.callbacks.LambdaCallback(on_epoch_begin=inner), epochs=1)
with mlflow.start_run(run_name="a generator's"):
    pairs = ((x[:8], y[:8]) for _ in range(3))
    model_of().fit(pairs, epochs=1, verbose=0, callbacks=[LedgerCallback()])
with mlflow.start_run(run_name="broken"):
    class Odd(keras.Sequential):
        is_odd = False
        @property
        def weights(self):
            if self.is_odd:
                raise ValueError("they are elsewhere")
            return super().weights
    model = Odd([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    def turn(is_odd):
        def on_epoch_end(epoch, logs=None):
            model.is_odd = is_odd and epoch == 1
        return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
    fit(model, turn(True), LedgerCallback(), turn(False), epochs=3)
name = "another thread's"
with ThreadPoolExecutor(1) as pool:
    run = pool.submit(mlflow.start_run, run_name=name).result()
    fit(model_of(), LedgerCallback(), epochs=1)
mlflow.MlflowClient().set_terminated(run.info.run_id)
print(json.dumps(found))
"""
)
TORCH = (
    SHARED
    + """
import pytorch_lightning as pl, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from runback.lightning import CheckpointCallback, LedgerCallback
torch.use_deterministic_algorithms(True)

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
data = TensorDataset(x, x.sum(dim=1))
def layers():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
def loss_of(model, batch):
    return ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()
def weights(model):
    return [tensor.numpy() for tensor in model.state_dict().values()]

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = layers()
    def training_step(self, batch, index):
        return loss_of(self.layers, batch)
    def validation_step(self, batch, index):
        self.log("val_loss", loss_of(self.layers, batch))
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)
def fit(*callbacks, path=None, **more):
    pl.seed_everything(3, verbose=False)
    module, loader = Net(), DataLoader(data, batch_size=16, shuffle=True)
    keeps = any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks)
    trainer = pl.Trainer(**{"max_epochs": 2, **more}, accelerator="cpu", callbacks=[*callbacks],
                         enable_checkpointing=keeps, logger=False, enable_model_summary=False,
                         enable_progress_bar=False)
    trainer.fit(module, loader, DataLoader(data, batch_size=32), ckpt_path=path)
    return weights(module), trainer

trained("lightning", lambda is_noted: fit(*([LedgerCallback()] if is_noted else []))[0])
os.environ["RUNBACK_LEDGER"] = "step"
with mlflow.start_run(run_name="collected"):
    both = LedgerCallback(), CheckpointCallback()
    _, trainer = fit(*both, accumulate_grad_batches=2, max_epochs=1)
    trainer.save_checkpoint("half.ckpt")
os.environ["RUNBACK_LEDGER"] = "epoch"
with mlflow.start_run(run_name="resumed"):
    fit(CheckpointCallback(), path="half.ckpt", max_epochs=2)

def loop(numbers, stop=None):
    torch.manual_seed(3)
    model = layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in runback.epochs(numbers, model, optimizer) if numbers else range(2):
        for batch in DataLoader(data, batch_size=16, shuffle=True):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
        model.eval()
        model(x)
        model.train()
        if epoch == stop:
            break
    hooks = [*model._forward_pre_hooks, *optimizer._optimizer_step_post_hooks]
    assert not hooks, hooks
    return weights(model)
trained("loop", lambda is_noted: loop(2 if is_noted else None))
os.environ["RUNBACK_LEDGER"] = "epoch"
with mlflow.start_run(run_name="left"):
    loop(range(5, 9), stop=6)
class Odd(nn.Module):
    def named_parameters(self):
        raise RuntimeError("they are elsewhere")
with mlflow.start_run(run_name="broken"):
    assert list(runback.epochs(2, Odd())) == [0, 1]
print(json.dumps(found))
"""
)


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def keras(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, template: Path
) -> Trained:
    return Trained.of(tmp_path_factory, template, KERAS, KERAS_BACKEND=request.param)


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Trained:
    return Trained.of(tmp_path_factory, template, TORCH)


class Trained:
    """A script that ran in a store of its own: its runs by name, and what it said."""

    def __init__(self, store: Store, said: dict[str, str], err: str) -> None:
        self.store, self.said, self.err = store, said, err

    @staticmethod
    def of(factory: pytest.TempPathFactory, template: Path, code: str, **environ: str) -> Trained:
        store = make(factory.mktemp("trained") / "store", template)
        done = store.train(code, PYTHONHASHSEED="0", **environ)
        assert done.returncode == 0, done.stderr
        return Trained(store, json.loads(done.stdout.splitlines()[-1]), done.stderr)

    def ledger(self, name: str) -> list[Line]:
        path = self.store.record(self.store.named(name)) / files.LEDGER
        return list(ledger.read(path)) if path.exists() else []

    def missing(self, name: str) -> list[str]:
        run_id = self.store.named(name)
        return list(manifest.read(self.store.record(run_id), run_id)["missing"])


def moments(lines: list[Line]) -> list[tuple[Any, ...]]:
    return [(line.at, line.fit, line.epoch, line.step) for line in lines]


def of_steps(lines: list[Line]) -> list[tuple[Any, ...]]:
    """Return the moments of a fit of two epochs with four steps each."""
    number = lines[0].fit
    ends = [[("epoch", number, epoch, 4 * epoch + 4)] for epoch in (0, 1)]
    steps = [
        [("step", number, step // 4, step + 1) for step in range(8)][n : n + 4] for n in (0, 4)
    ]
    return [("begin", number, 0, 0), *steps[0], *ends[0], *steps[1], *ends[1]]


def check_levels(trained: Trained, name: str) -> list[Line]:
    """Check that each level noted what it should, and all ended alike; return the steps' lines."""
    digests = {trained.said[f"{name} {level}"] for level in LEVELS}
    assert len(digests) == 1, "noting changed the training"
    assert trained.ledger(f"{name} off") == []
    assert trained.missing(f"{name} off") == []
    by_epoch, by_step = trained.ledger(f"{name} epoch"), trained.ledger(f"{name} step")
    assert moments(by_step) == of_steps(by_step)
    both = [line for line in by_step if line.at != "step"]
    assert [m[2:] for m in moments(by_epoch)] == [m[2:] for m in moments(both)]
    same = [(line.weights, line.random, line.data, line.optimizer) for line in both]
    assert [(at.weights, at.random, at.data, at.optimizer) for at in by_epoch] == same
    weights = [tuple(line.weights.values()) for line in by_step if line.at != "epoch"]
    assert len(set(weights)) == 9, "each step changes them"
    run_id = trained.store.named(f"{name} step")
    assert list(check.problems(trained.store.record(run_id), run_id, {})) == []
    return by_step


def test_a_keras_training_is_noted_and_not_changed(keras: Trained) -> None:
    lines = check_levels(keras, "plain")
    assert next(iter(lines[0].weights)).split("/")[1:] == ["dense", "kernel"]
    assert {"keras", "numpy", "python"} <= lines[0].random.keys()
    assert lines[0].data
    assert lines[0].optimizer
    assert lines[1].data is None


def test_several_fits_of_a_process(keras: Trained) -> None:
    lines = keras.ledger("several")
    first = lines[0].fit
    assert moments(lines) == [
        *[("begin", first, 0, 0), ("epoch", first, 0, 4), ("epoch", first, 1, 8)],
        *[("begin", first + 1, 4, 0), ("epoch", first + 1, 4, 4), ("epoch", first + 1, 5, 8)],
        *[("begin", first + 2, 0, 0), ("epoch", first + 2, 0, 4)],
        *[("begin", first + 3, 0, 0), ("begin", first + 4, 0, 0)],
        *[("epoch", first + 4, 0, 4), ("epoch", first + 3, 0, 4)],
    ]
    assert [line for line in keras.err.splitlines() if line.startswith("runback: ")] == [
        "runback: warning: RUNBACK_LEDGER=every step is none of epoch, step, off; taken as epoch",
        "runback: warning: the ledger of this training stops here: ValueError: they are elsewhere",
    ]


def test_what_cannot_be_seen_is_absent(keras: Trained) -> None:
    begin, epoch = keras.ledger("a generator's")
    assert (begin.data, epoch.batch) == (None, None)


def test_a_failure_ends_the_ledger_and_not_the_training(keras: Trained) -> None:
    assert [line.at for line in keras.ledger("broken")] == ["begin", "epoch"]
    (missing,) = keras.missing("broken")
    assert missing.endswith("before the training's end: ValueError: they are elsewhere")
    run_id = keras.store.named("broken")
    assert keras.store.runs()[run_id] == "FINISHED"


def test_a_fit_where_no_run_is_active(keras: Trained) -> None:
    assert [line.at for line in keras.ledger("another thread's")] == ["begin", "epoch"]


def test_a_lightning_training_is_noted_and_not_changed(torch: Trained) -> None:
    lines = check_levels(torch, "lightning")
    steps = [line for line in lines if line.at == "step"]
    assert len({line.batch for line in steps}) == 8
    assert {line.batches for line in steps} == {"all"}
    by_epoch = [line for line in torch.ledger("lightning epoch") if line.at == "epoch"]
    assert [line.batch for line in by_epoch] == [steps[3].batch, steps[7].batch]
    assert {line.batches for line in by_epoch} == {"last"}
    assert next(iter(lines[0].weights)) == "layers.0.weight"
    assert "layers.1.running_mean" in lines[0].weights


def test_gradients_of_several_batches_make_one_step(torch: Trained) -> None:
    lines = torch.ledger("collected")
    assert [(line.at, line.epoch, line.step) for line in lines] == [
        *[("begin", 0, 0), ("step", 0, 1), ("step", 0, 2), ("epoch", 0, 2)]
    ]
    batches = {line.batch for line in torch.ledger("lightning step")}
    assert not {line.batch for line in lines if line.at == "step"} & batches


def test_a_resumed_training_tells_its_epoch(torch: Trained) -> None:
    lines = torch.ledger("resumed")
    assert [(line.at, line.epoch, line.step) for line in lines] == [
        ("begin", 1, 0),
        ("epoch", 1, 4),
    ]
    assert lines[0].weights == torch.ledger("collected")[-1].weights


def test_a_plain_loop_is_noted_and_not_changed(torch: Trained) -> None:
    lines = check_levels(torch, "loop")
    assert len({line.batch for line in lines if line.at == "step"}) == 8
    last = torch.ledger("loop epoch")[-1]
    assert (last.batches, last.batch) == ("last", lines[-2].batch)


def test_a_loop_that_is_left_early(torch: Trained) -> None:
    lines = torch.ledger("left")
    assert [(line.at, line.epoch, line.step) for line in lines] == [
        *[("begin", 5, 0), ("epoch", 5, 4), ("epoch", 6, 8)]
    ]
    (missing,) = torch.missing("broken")
    assert missing.endswith("training's end: RuntimeError: they are elsewhere")


def test_epochs_of_what_is_no_module() -> None:
    with pytest.raises(WrongEpochs, match=r"epochs\(\) was given 'adam' \(str\)"):
        epochs(3, "adam")
    with pytest.raises(WrongEpochs, match=r"1\.5 \(float\)"):
        epochs(1.5)  # type: ignore[arg-type]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
digests = st.from_regex(ledger.DIGEST, fullmatch=True)
counts = st.integers(0, 2**63 - 1)
lines = st.builds(
    Line,
    *[st.sampled_from(ledger.MOMENTS), counts, counts, st.none() | counts],
    *[st.dictionaries(names, digests, max_size=3)] * 2,
    *[st.none() | digests, st.sampled_from([None, "all", "last"])],
    *[st.none() | digests] * 2,
)


@given(st.lists(lines, max_size=5))
def test_what_was_appended_is_read(
    tmp_path_factory: pytest.TempPathFactory, noted: list[Line]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / files.LEDGER
    assert ledger.append(path, [ledger.to_line(line) for line in noted])
    with path.open("ab") as file:
        file.write(b'{"at":"ep')  # a killed writer's, or of a copy taken in mid-run
    assert list(ledger.read(path)) == noted
    assert ledger.append(path, [ledger.to_line(Line("epoch", 0, 0, None))])
    assert list(ledger.read(path)) == [*noted, Line("epoch", 0, 0, None)]


@pytest.mark.parametrize(
    "text",
    [
        *['{"at":"end","fit":0,"epoch":0}', "[]", "{", "[" * 100_000, '{"at":"step","epoch":0}'],
        '{"at":"step","fit":0,"epoch":-1}',
        '{"at":"step","fit":true,"epoch":1}',
        '{"at":"step","fit":0,"epoch":1,"weights":{"a":"b"}}',
        '{"at":"step","fit":0,"epoch":1,"batch":"\\u001b[2J000000000000"}',
        '{"at":"step","fit":0,"epoch":1,"batches":"some"}',
        '{"at":"step","fit":0,"epoch":1,"random":[]}',
        '{"at":["step"],"fit":0,"epoch":1}',
    ],
)
def test_a_line_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / files.LEDGER
    path.write_bytes(ledger.to_line(Line("begin", 0, 0, 0)) + f"\n{text}\n".encode())
    found = ledger.read(path)
    assert next(found).at == "begin"
    with pytest.raises(RecordError, match=r"line 2 is none of a ledger's"):
        next(found)


def test_a_ledger_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, line = tmp_path / files.LEDGER, ledger.to_line(Line("begin", 0, 0, 0))
    path.symlink_to("/etc/passwd")
    with pytest.raises(RecordError, match="is a symbolic link"):
        list(ledger.read(path))
    path.unlink()
    monkeypatch.setattr(ledger, "LARGEST_BYTES", 2 * len(line) + 2)
    assert ledger.append(path, [line, line])
    assert not ledger.append(path, [line])
    assert len(list(ledger.read(path))) == 2
    path.write_bytes(3 * (line + b"\n"))
    with pytest.raises(RecordError, match="has more than the"):
        list(ledger.read(path))
    monkeypatch.setattr(ledger, "LONGEST_LINE_BYTES", 10)
    path.write_bytes(line)
    with pytest.raises(RecordError, match="line 1 is longer"):
        list(ledger.read(path))


def test_lines_of_no_run_belong_to_those_that_went_on() -> None:
    queue = Queue()
    queue.note(Line("begin", 0, 0, 0))
    noted_ms = queue._entries[0].noted_ms
    before, after, line = noted_ms - 9, noted_ms + 9, ledger.to_line(Line("begin", 0, 0, 0))
    assert queue.take("ended before", before, noted_ms - 1) == ([], [])
    assert queue.take("goes on", before, None) == ([line], [])
    assert queue.take("goes on", before, after) == ([], [])
    assert queue.take("ended after", before, after) == ([line], [])
    assert queue.take("a later one", after, None) == ([], [])
    queue.note(Line("begin", 0, 0, 0))
    assert queue.take("the next one", 2 * after, None) == ([line], [])


def test_lines_that_nobody_takes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ledger.to_line(Line("begin", 0, 0, 0))
    monkeypatch.setattr(capture, "LARGEST_BYTES", 2 * len(text))
    queue = Queue()
    for number in range(5):
        queue.note(Line("begin", number, 0, 0))
    noted, lacks = queue.take("a", 0, None)
    assert [json.loads(line)["fit"] for line in noted] == [3, 4]
    assert lacks == ["ledger.jsonl: 3 lines were dropped, as nobody took them"]
    for number in range(5):
        queue.note(Line("begin", number, 0, 0))
        queue.take("a", 0, None)
    assert queue.take("a", 0, None) == ([], [])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_none_of_its_parents_lines() -> None:
    queue = Queue()
    queue.note(Line("begin", 0, 0, 0))
    with queue._lock:
        if (child := os.fork()) == 0:
            os._exit(len(queue.take("a", 0, None)[0]))
    assert os.waitpid(child, 0)[1] == 0
    assert len(queue.take("a", 0, None)[0]) == 1


def test_a_reason_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    queue = Queue()
    for _ in range(2):
        queue.stop("too odd")
    said = "runback: warning: the ledger of this training stops here: too odd\n"
    assert capsys.readouterr().err == said


def test_bits_are_what_is_digested() -> None:
    zero = np.zeros(2, "float32")
    assert tensors.digest(zero) == tensors.digest(zero.copy(order="F"))
    different = [zero, -zero, zero.astype("float64"), zero.reshape(1, 2), [zero], {"a": zero}]
    different += [[zero, zero], 0, 0.0, -0.0, False, None, "", "0", math.nan, np.float32(0)]
    assert len({tensors.digest(value) for value in different}) == len(different)
    nan = np.array([math.nan])
    assert tensors.digest(nan) == tensors.digest(nan.copy())
    matrix = np.arange(6).reshape(2, 3)
    assert tensors.digest(matrix.T) == tensors.digest(np.ascontiguousarray(matrix.T))
    for odd in (object(), np.array([object()]), {1, 2}, [zero, object()]):
        with pytest.raises(TypeError, match="no bytes to digest"):
            tensors.digest(odd)
    assert list(tensors.by_name([("a", zero), ("a", zero)])) == ["a", "a#2"]


def test_one_of_two_callbacks_notes() -> None:
    model, one, other = Queue(), object(), object()
    assert not is_noted(model, one, (0, 0))
    assert is_noted(model, other, (0, 0))
    assert not is_noted(model, one, (0, 0))
    assert not is_noted(model, other, (0, 8))


def test_nothing_is_noted_where_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBACK_LEDGER", "step")
    assert capture.level() == "step"
    monkeypatch.setenv("RUNBACK_RECORD", "0")
    assert capture.level() == "off"


def test_the_tags_of_a_replay(template: Path, tmp_path: Path) -> None:
    store = make(tmp_path / "store", template)
    code = "import mlflow\nwith mlflow.start_run(): pass"
    done = store.train(code, RUNBACK_REPLAY="1" * 32, RUNBACK_REPLAY_ATTEMPT="12345678")
    assert done.returncode == 0, done.stderr
    tags = dict(query(store.database, "SELECT key, value FROM tags"))
    assert (tags["runback.replay_of"], tags["runback.replay"]) == ("1" * 32, "12345678")
