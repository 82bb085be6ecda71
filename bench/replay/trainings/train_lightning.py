"""A Lightning training of a few seconds: python train_lightning.py --variant plain"""

from __future__ import annotations

import argparse
import logging
import warnings
from typing import Any

import runback
from runback import determinism

VARIANTS = ("plain", "augmentation", "workers", "early-stopping", "resumed", "mixed-precision")
EPOCHS, SEED = 4, 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=VARIANTS, default="plain")
    parser.add_argument("--resume", default="")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    experiment = runback.resume(given.resume) if given.resume else begun(given.variant)
    with experiment:
        train(given.variant, experiment)


def begun(variant: str) -> runback.Experiment:
    return runback.init(params={"variant": variant}, experiment="lightning")


def train(variant: str, experiment: runback.Experiment) -> None:
    determinism.prepare(threads=1)
    determinism.seed_lightning(SEED, threads=1)
    import mlflow
    import pytorch_lightning as pl

    import runback.lightning

    mlflow.pytorch.autolog(log_models=False, checkpoint=False)
    callbacks: list[Any] = [
        runback.lightning.CheckpointCallback(primary_metric=("loss", "minimize"))
    ]
    if variant == "early-stopping":
        early = pl.callbacks.EarlyStopping("loss", patience=1, min_delta=0.2)
        callbacks.append(early)
    latest = experiment.latest
    is_first = variant == "resumed" and not latest
    trainer = pl.Trainer(
        max_epochs=EPOCHS // 2 if is_first else EPOCHS,
        accelerator="cpu",
        precision="bf16-mixed" if variant == "mixed-precision" else "32-true",
        deterministic=True,
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=callbacks,
    )
    net = module(variant)
    trainer.fit(net, *loaders(variant), ckpt_path=latest.path if latest else None)
    if not is_first:
        log(net)


def log(net: Any) -> None:
    """Log the layers alone: a module of this file's own class is a pickle that nobody opens."""
    import mlflow
    import torch

    example = torch.zeros(1, 1, 8, 8).numpy()
    layers = net.layers.eval()
    mlflow.pytorch.log_model(layers, name="model", pip_requirements=[], input_example=example)


def module(variant: str) -> Any:
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch.nn import functional

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
            )

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            images, labels = batch
            if variant == "augmentation":
                images = images + 0.1 * torch.randn_like(images)
            loss = functional.cross_entropy(self.layers(images), labels)
            self.log("loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", functional.cross_entropy(self.layers(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Net()


def loaders(variant: str) -> tuple[Any, Any]:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    chance = torch.Generator().manual_seed(1)
    images = torch.rand(512, 1, 8, 8, generator=chance)
    data = TensorDataset(images, images.mean(dim=(1, 2, 3)).argsort().argsort() * 10 // 512)
    workers = 2 if variant == "workers" else 0
    # No generator of its own: it would be left out of Lightning's checkpoints.
    return (
        DataLoader(data, 64, shuffle=True, num_workers=workers, persistent_workers=workers > 0),
        DataLoader(data, 64),
    )


if __name__ == "__main__":
    main()
