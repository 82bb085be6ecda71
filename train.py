"""Train a small convolutional network on handwritten digits: python train.py [--epochs 20 …]

Replace this by your own training. What the rest of the project uses of it:
`configure` (parameters, checked), `train` (config -> result) and `accuracy_figure`.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from runback import determinism, params
from runback.digests import digest_tensors
from runback.errors import DatasetError, RunbackError
from runback.params import Between, OneOf
from runback.terminal import ended

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    import numpy as np
    from matplotlib.figure import Figure

PROJECT = Path(__file__).resolve().parent
OUTPUTS = PROJECT / "outputs"
BACKENDS = ("tensorflow", "torch")
DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10")


@dataclass(frozen=True)
class Config:
    """Train a small convolutional network on small images. Defaults: params.yaml."""

    dataset: Annotated[str, OneOf(DATASETS), "images to learn"]
    epochs: Annotated[int, Between(1, 10_000), "passes over the training images"]
    batch_size: Annotated[int, Between(1, 65_536), "images per step"]
    learning_rate: Annotated[float, Between(0, 1, above=True), "of Adam"]
    filters: Annotated[int, Between(1, 1024), "of the first convolution; the second has twice"]
    dropout: Annotated[float, Between(0, 1, below=True), "share of features left out"]
    seed: Annotated[int, Between(0, 2**32 - 1), "of every random number"]
    threads: Annotated[int, Between(1, 1024), "CPU threads of an operation; part of the result"]
    workers: Annotated[int, Between(0, 256), "data-loader processes; 0 loads in this one"]


@dataclass(frozen=True)
class Data:
    """Images (N, H, W, C) float32 in [0, 1] and labels (N,) int64 in [0, classes)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    classes: int


@dataclass(frozen=True)
class Result:
    """A trained model, its metrics by epoch, and the switches as they were read back."""

    model: keras.Model
    data: Data
    history: dict[str, list[float]]
    switches: determinism.Switches

    @property
    def digest(self) -> str:
        """The digest of all weights: equal digests are equal bits."""
        return digest_tensors({weight.path: weight.numpy() for weight in self.model.weights})


def configure(argv: Sequence[str]) -> Config:
    """Return the parameters of params.yaml and the command line. Raises ParamsError."""
    return params.load(Config, argv, PROJECT / "params.yaml")


def train(config: Config, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Result:
    """Train a new model. Same config, same machine, same bits."""
    prepare(config)
    switches = determinism.seed_keras(config.seed, config.threads)
    data = load_data(config.dataset)
    model = build_model(config, data)
    fitted = model.fit(
        data.x_train,
        data.y_train,
        batch_size=config.batch_size,
        epochs=config.epochs,
        validation_data=(data.x_val, data.y_val),
        callbacks=list(callbacks),
        # A progress bar on a terminal, a line per epoch in a log.
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return Result(model, data, fitted.history, switches)


def prepare(config: Config) -> None:
    """Set what must stand before a framework is imported: Keras's backend, threads, kernels."""
    backend = os.environ.setdefault("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        raise RunbackError(f"KERAS_BACKEND={backend}: the lock has {' and '.join(BACKENDS)}")
    determinism.prepare(config.threads)


def load_data(dataset: str) -> Data:
    """Return the images of one of DATASETS, a fifth held out where none are set apart.

    Raises DatasetError if they cannot be downloaded or are damaged.
    """
    import numpy as np

    if dataset == "digits":
        return _digits()
    (x_train, y_train), (x_val, y_val) = _download(dataset)
    images = [(x.reshape(*x.shape[:3], -1) / 255).astype(np.float32) for x in (x_train, x_val)]
    labels = [y.ravel().astype(np.int64) for y in (y_train, y_val)]
    return Data(images[0], labels[0], images[1], labels[1], classes=10)


def _digits() -> Data:
    """1,797 images of 8x8 with 16 shades, in scikit-learn's own package (UCI, 1998)."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    # Which fifth is held out belongs to the data set, not to the training's seed.
    parts = train_test_split(x, y.astype(np.int64), test_size=0.2, stratify=y, random_state=0)
    return Data(x_train=parts[0], x_val=parts[1], y_train=parts[2], y_val=parts[3], classes=10)


def _download(dataset: str) -> Any:
    import keras

    try:
        return getattr(keras.datasets, dataset).load_data()
    except (
        OSError,
        EOFError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _download_failed(dataset, error) from error
    except Exception as error:
        # Keras wraps a failed download in a bare Exception (keras file_utils.get_file).
        if type(error) is not Exception:
            raise
        raise _download_failed(dataset, error) from error


def _download_failed(dataset: str, error: Exception) -> DatasetError:
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    files = {"mnist": "mnist.npz", "fashion_mnist": "fashion-mnist", "cifar10": "cifar-10*"}
    return DatasetError(
        f"the data set {dataset} could not be had or read (in {cache}): {error}",
        f"rm -r {quote(str(cache))}/{files[dataset]}; or --dataset digits, which needs no download",
    )


def build_model(config: Config, data: Data) -> keras.Model:
    """Return the compiled network: two convolutions, a pool, one dense layer of logits."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input(shape=data.x_train.shape[1:]),
            layers.Conv2D(config.filters, 3, padding="same", activation="relu"),
            layers.Conv2D(2 * config.filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(config.dropout),
            layers.Dense(data.classes),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def accuracy_figure(history: dict[str, list[float]]) -> Figure:
    """Draw accuracy and val_accuracy over the epochs, which count from 1."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name in ("accuracy", "val_accuracy"):
        values = history[name]
        axes.plot(range(1, len(values) + 1), values, marker=".", label=f"{name} {values[-1]:.4f}")
    axes.set(xlabel="epoch", ylabel="accuracy", title="Accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def write_outputs(config: Config, result: Result, folder: Path, run_id: str = "") -> None:
    """Write model, history, last metrics and the accuracy plot to `folder`.

    run_id: of the tracked run, which then stands among the metrics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result.model.save(folder / "model.keras")
    last = {name: values[-1] for name, values in result.history.items()}
    named = {"run_id": run_id} if run_id else {}
    history = {"params": dataclasses.asdict(config), "history": result.history}
    (folder / "history.json").write_text(json.dumps(history, indent=1) + "\n")
    (folder / "metrics.json").write_text(json.dumps({**last, **named}, indent=1) + "\n")
    write_csv(result.history, folder / "history.csv")
    accuracy_figure(result.history).savefig(folder / "accuracy.png", dpi=150)


def write_csv(history: dict[str, list[float]], path: Path) -> None:
    """Write a row for each epoch, which count from 0 as a metric's steps do."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", *history])
        values = zip(*history.values(), strict=True)
        rows.writerows([epoch, *row] for epoch, row in enumerate(values))


def main() -> None:
    config = configure(sys.argv[1:])
    result = train(config)
    write_outputs(config, result, OUTPUTS)
    print(f"val_accuracy {result.history['val_accuracy'][-1]:.4f}  weights {result.digest[:19]}")
    print(f"wrote {OUTPUTS}")


if __name__ == "__main__":
    sys.exit(ended(main))
