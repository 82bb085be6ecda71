"""Learn to tell the sounds of ESC-50 apart, with PyTorch Lightning, tracked by MLflow.

./run_script.bash python examples/esc50/train_esc50.py [--folds all] [--epochs 20 …]
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import dataset

import runback
import runback.lightning
from runback import determinism, params
from runback.digests import digest_tensors
from runback.params import Between, OneOf, Text
from runback.terminal import ended
from runback.tracking import tracked_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytorch_lightning as pl
    from dataset import Sound
    from torch.utils.data import DataLoader

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
EXPERIMENT, ALL = "esc50", "all"


@dataclass(frozen=True)
class Config:
    """Train a convolutional network on the sounds of ESC-50. Defaults: params.yaml."""

    data: Annotated[str, Text("a folder"), "the data set; a relative one is the project's"]
    folds: Annotated[str, OneOf((*map(str, dataset.FOLDS), ALL)), "held out; all: each in turn"]
    sample_rate: Annotated[int, Between(1000, 44_100), "Hz, to which sounds are resampled"]
    n_classes: Annotated[int, Between(2, 10_000), "of the data set"]
    base_filters: Annotated[int, Between(1, 1024), "of the first two convolutions"]
    epochs: Annotated[int, Between(1, 10_000), "passes over the training sounds"]
    batch_size: Annotated[int, Between(1, 65_536), "sounds per step"]
    learning_rate: Annotated[float, Between(0, 1, above=True), "of Adam"]
    seed: Annotated[int, Between(0, 2**32 - 1), "of every random number"]
    threads: Annotated[int, Between(1, 1024), "CPU threads of an operation; part of the result"]


@dataclass(frozen=True)
class Data:
    """Sounds and their clips: (N, T) float32 in [-1, 1], in the same order."""

    sounds: Sequence[Sound]
    clips: Any

    def loader(self, config: Config, is_held_out: bool) -> DataLoader[Any]:
        """Return batches of clips (B, 1, T) and targets (B,): the held-out fold, or the others.

        The order is drawn from torch's own generator: a checkpoint has its state. No
        workers: all is in memory.
        """
        import torch
        from torch.utils.data import DataLoader, Subset, TensorDataset

        targets = torch.tensor([sound.target for sound in self.sounds])
        whole = TensorDataset(torch.from_numpy(self.clips).unsqueeze(1), targets)
        held_out = [str(sound.fold) == config.folds for sound in self.sounds]
        chosen = [at for at, is_there in enumerate(held_out) if is_there == is_held_out]
        return DataLoader(Subset(whole, chosen), config.batch_size, shuffle=not is_held_out)


def load_data(config: Config) -> Data:
    """Return the data set, and have every run of this process record its digest.

    Raises DatasetError, whatever is wrong with it.
    """
    folder = PROJECT / Path(config.data).expanduser()
    sounds = dataset.find(folder, config.n_classes)
    import clips

    declared = os.environ.get("RUNBACK_DATA", "").split(os.pathsep)
    words = dict.fromkeys([*filter(None, declared), config.data])
    os.environ["RUNBACK_DATA"] = os.pathsep.join(words)
    # In outputs/, which neither git nor a run's record has: a replay makes a cache of its own.
    cache = PROJECT / "outputs" / EXPERIMENT
    return Data(sounds, clips.load(sounds, folder, config.sample_rate, cache))


def train_fold(config: Config, data: Data) -> float:
    """Train with one fold held out, in the run that is active; return its accuracy at the end."""
    import mlflow

    mlflow.log_params(dataclasses.asdict(config))
    # Of each fold anew: it is the same, to the bit, alone and among the five.
    switches = determinism.seed_lightning(config.seed, config.threads)
    from net import AudioNet

    mlflow.log_dict(switches, "determinism.json")
    trainer = new_trainer(config)
    net = AudioNet(config.n_classes, config.base_filters, config.learning_rate)
    latest = runback.init(PROJECT).latest  # None, but in a replay from a step
    trainer.fit(
        net,
        data.loader(config, is_held_out=False),
        data.loader(config, is_held_out=True),
        ckpt_path=latest.path if latest else None,
    )
    mlflow.set_tag("weights", digest(trainer))
    # Of the last epoch: the best would be chosen by the sounds that it is judged by.
    accuracy = float(trainer.callback_metrics["val_accuracy"])
    print(f"fold {config.folds}: val_accuracy {accuracy:.4f}  weights {digest(trainer)[:19]}")
    return accuracy


def new_trainer(config: Config) -> pl.Trainer:
    """Return a trainer that keeps a checkpoint and the ledger of each epoch."""
    import pytorch_lightning as pl

    return pl.Trainer(
        max_epochs=config.epochs,
        devices=1,  # several would start a process each, and a run each
        deterministic=True,
        callbacks=[
            runback.lightning.CheckpointCallback("audionet.ckpt", ("val_accuracy", "maximize")),
            runback.lightning.LedgerCallback(),
        ],
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
    )


def digest(trainer: pl.Trainer) -> str:
    """Return the digest of all weights: equal digests are equal bits."""
    assert trainer.lightning_module is not None
    state = trainer.lightning_module.state_dict()
    return digest_tensors({name: tensor.cpu().numpy() for name, tensor in state.items()})


def train_folds(config: Config, data: Data) -> None:
    """Train with each fold held out in turn, in a run each below the active one."""
    import mlflow

    mlflow.log_params(dataclasses.asdict(config))
    accuracies = []
    for fold in map(str, dataset.FOLDS):
        with nested_run(f"fold-{fold}"):
            accuracies.append(train_fold(dataclasses.replace(config, folds=fold), data))
    mean, std = statistics.mean(accuracies), statistics.stdev(accuracies)
    mlflow.log_metrics({"val_accuracy_mean": mean, "val_accuracy_std": std})
    print(f"val_accuracy {mean:.4f} ± {std:.4f} over {len(accuracies)} folds")


@contextmanager
def nested_run(name: str) -> Iterator[None]:
    """Start a run below the active one; Ctrl-C, which Lightning turns into an exit, kills it."""
    import mlflow

    status = "FAILED"
    mlflow.start_run(run_name=name, nested=True)
    try:
        yield
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def main() -> None:
    script = str(Path(__file__).resolve().relative_to(PROJECT))
    config = params.load(Config, sys.argv[1:], HERE / "params.yaml", script=script)
    determinism.prepare(config.threads)
    data = load_data(config)  # what is wrong with it ends here, before there is a run
    with tracked_run(PROJECT, experiment=EXPERIMENT) as run:
        import mlflow

        mlflow.pytorch.autolog(log_models=False, checkpoint=False)
        train = train_folds if config.folds == ALL else train_fold
        train(config, data)
    print(f"run {run.info.run_name} ({run.info.run_id[:8]}) of experiment {EXPERIMENT}")


if __name__ == "__main__":
    sys.exit(ended(main))
