"""A convolutional network on raw sound."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional


class AudioNet(pl.LightningModule):
    """M5 of Dai et al. (2016, arXiv:1610.00087): sounds (N, 1, T) to logits (N, n_classes)."""

    def __init__(self, n_classes: int, base_filters: int, learning_rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.learning_rate = learning_rate
        self.features = nn.Sequential(
            *_block(1, base_filters, 80, stride=4),
            *_block(base_filters, base_filters, 3),
            *_block(base_filters, 2 * base_filters, 3),
            *_block(2 * base_filters, 4 * base_filters, 3),
        )
        self.classify = nn.Linear(4 * base_filters, n_classes)

    def forward(self, sounds: torch.Tensor) -> torch.Tensor:
        # The mean over time: adaptive pooling does not repeat itself on a GPU.
        logits: torch.Tensor = self.classify(self.features(sounds).mean(dim=-1))
        return logits

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self._step(batch, "")

    def validation_step(self, batch: Any, index: int) -> None:
        self._step(batch, "val_")

    def _step(self, batch: Any, prefix: str) -> torch.Tensor:
        sounds, targets = batch
        logits = self(sounds)
        loss = functional.cross_entropy(logits, targets)
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        values = {f"{prefix}loss": loss, f"{prefix}accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def _block(channels: int, filters: int, width: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv1d(channels, filters, width, stride, padding=width // 2)
    return [convolution, nn.BatchNorm1d(filters), nn.ReLU(), nn.MaxPool1d(4)]
