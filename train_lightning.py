"""Train the same data with PyTorch Lightning, tracked: python train_lightning.py [--workers 2 …]"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import runback.lightning
import train
from runback import determinism
from runback.digests import digest_tensors
from runback.terminal import ended
from runback.tracking import tracked_run

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader


def build_module(config: train.Config, data: train.Data) -> pl.LightningModule:
    """Return the network of train.py as a LightningModule; images are (N, C, H, W) here."""
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch.nn import functional

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            height, width, channels = data.x_train.shape[1:]
            filters = config.filters
            self.layers = nn.Sequential(
                nn.Conv2d(channels, filters, 3, padding="same"),
                nn.ReLU(),
                nn.Conv2d(filters, 2 * filters, 3, padding="same"),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Dropout(config.dropout),
                nn.Linear(2 * filters * (height // 2) * (width // 2), data.classes),
            )

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return self._step(batch, "")

        def validation_step(self, batch: Any, index: int) -> None:
            self._step(batch, "val_")

        def _step(self, batch: Any, prefix: str) -> torch.Tensor:
            images, labels = batch
            logits = self.layers(images)
            loss = functional.cross_entropy(logits, labels)
            accuracy = (logits.argmax(dim=1) == labels).float().mean()
            values = {f"{prefix}loss": loss, f"{prefix}accuracy": accuracy}
            self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=config.learning_rate)

    return Net()


def loaders(config: train.Config, data: train.Data) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the loaders of training and validation batches; the first shuffles by the seed."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(config.seed)

    def loader(x: Any, y: Any, shuffle: bool) -> DataLoader[Any]:
        images = TensorDataset(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y))
        return DataLoader(
            images,
            batch_size=config.batch_size,
            # Generators of their own for the order and for the workers' seeds: neither
            # depends on how often the other is drawn from, so 0 and 4 workers agree.
            sampler=RandomSampler(images, generator=generator())
            if shuffle
            else SequentialSampler(images),
            generator=generator(),
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
        )

    return loader(data.x_train, data.y_train, True), loader(data.x_val, data.y_val, False)


def fit(config: train.Config) -> tuple[pl.Trainer, determinism.Switches]:
    """Train a new module and return its trainer. Same config, same machine, same bits."""
    train.prepare(config)
    switches = determinism.seed_lightning(config.seed, config.threads)
    import pytorch_lightning as pl

    data = train.load_data(config.dataset)
    module = build_module(config, data)
    trainer = pl.Trainer(
        max_epochs=config.epochs,
        devices=1,  # several would start a process each, and a run each
        deterministic=True,
        callbacks=[runback.lightning.LedgerCallback()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
    )
    trainer.fit(module, *loaders(config, data))
    return trainer, switches


def digest(trainer: pl.Trainer) -> str:
    """Return the digest of all weights: equal digests are equal bits."""
    assert trainer.lightning_module is not None
    state = trainer.lightning_module.state_dict()
    return digest_tensors({name: tensor.cpu().numpy() for name, tensor in state.items()})


def main() -> None:
    config = train.configure(sys.argv[1:])
    train.prepare(config)
    with tracked_run(train.PROJECT, experiment=config.dataset) as run:
        import mlflow

        mlflow.pytorch.autolog(log_models=False, checkpoint=False)
        mlflow.log_params(dataclasses.asdict(config))
        trainer, switches = fit(config)

        mlflow.log_dict(switches, "determinism.json")
        mlflow.set_tag("weights", digest(trainer))
        images, _ = next(iter(trainer.val_dataloaders))
        mlflow.pytorch.log_model(
            # The layers alone, as a traced graph: no pickle, and it loads without this file.
            trainer.lightning_module.layers,
            name="model",
            step=config.epochs - 1,  # the model takes the metrics of this step
            input_example=images[:2].numpy(),
            pip_requirements=str(train.PROJECT / "requirements.txt"),
        )
    val_accuracy = trainer.callback_metrics["val_accuracy"]
    print(f"val_accuracy {val_accuracy:.4f}  weights {digest(trainer)[:19]}")
    print(f"run {run.info.run_name} ({run.info.run_id[:8]}) of experiment {config.dataset}")


if __name__ == "__main__":
    sys.exit(ended(main))
