"""A plain PyTorch loop of a few seconds: python train_torch.py --variant plain [--resume RUN]"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
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
    # Before the seeds: MLflow draws a run's name from Python's generator.
    experiment = runback.resume(given.resume) if given.resume else begun(given.variant)
    with experiment:
        train(given.variant, experiment)


def begun(variant: str) -> runback.Experiment:
    return runback.init(params={"variant": variant, "epochs": EPOCHS}, experiment="torch")


def train(variant: str, experiment: runback.Experiment) -> None:
    determinism.prepare(threads=1)
    determinism.seed_torch(SEED, threads=1)
    import mlflow
    import torch
    from torch import nn

    network: Any = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 36, 10)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    order = torch.Generator().manual_seed(SEED)
    first, best, worse = 0, float("inf"), 0
    if latest := experiment.latest:
        kept = torch.load(latest.path)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        order.set_state(kept["order"])
        torch.set_rng_state(kept["random"])
        first, best, worse = latest.step + 1, kept["best"], kept["worse"]
    loader = batches(variant, order)
    # The first process of "resumed" stops half-way.
    last = EPOCHS // 2 if variant == "resumed" and not first else EPOCHS
    for epoch in runback.epochs(range(first, last), network, optimizer):
        loss = epoch_of(variant, network, optimizer, loader)
        worse = 0 if loss < best - 0.05 else worse + 1
        best = min(best, loss)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        randomness = {"order": order.get_state(), "random": torch.get_rng_state()}
        torch.save({**state, **randomness, "best": best, "worse": worse}, "model.pt")
        experiment.checkpoint("model.pt", epoch, {"loss": loss}, ("loss", "minimize"))
        if variant == "early-stopping" and worse:
            break
    if last == EPOCHS:
        network.eval()
        example = torch.zeros(1, 1, 8, 8).numpy()
        mlflow.pytorch.log_model(network, name="model", pip_requirements=[], input_example=example)
    Path("model.pt").unlink()


def epoch_of(variant: str, network: Any, optimizer: Any, loader: Any) -> float:
    import torch
    from torch.nn import functional

    is_mixed = variant == "mixed-precision"
    total = 0.0
    for images, labels in loader:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed):
            loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


def batches(variant: str, order: Any) -> Any:
    """Return shuffled batches of 512 images of 8x8; with noise and flips where asked for."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    chance = torch.Generator().manual_seed(1)
    images = torch.rand(512, 1, 8, 8, generator=chance)
    labels = images.mean(dim=(1, 2, 3)).argsort().argsort() * 10 // 512

    class Images(Dataset[Any]):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> Any:
            image = images[index]
            if variant in ("augmentation", "workers"):
                # In a worker these two are seeded by torch, by the loader's generator.
                image = image + 0.1 * torch.randn(image.shape)
                image = image.flip(2) if random.random() < 0.5 else image
            return image, labels[index]

    workers = 2 if variant == "workers" else 0
    return DataLoader(Images(), 64, shuffle=True, generator=order, num_workers=workers)


if __name__ == "__main__":
    main()
