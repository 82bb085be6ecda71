"""A Keras training of a few seconds, on KERAS_BACKEND: python train_keras.py --variant plain"""

from __future__ import annotations

import argparse
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
    determinism.prepare(threads=1)
    experiment = runback.resume(given.resume) if given.resume else begun(given.variant)
    with experiment:
        train(given.variant, experiment, bool(given.resume))


def begun(variant: str) -> runback.Experiment:
    return runback.init(params={"variant": variant}, experiment="keras")


def train(variant: str, experiment: runback.Experiment, is_resumed: bool) -> None:
    determinism.seed_keras(SEED, threads=1)
    import keras
    import mlflow

    import runback.keras

    if variant == "mixed-precision":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    mlflow.keras.autolog(log_models=False)
    callbacks: list[Any] = [runback.keras.CheckpointCallback(primary_metric=("loss", "minimize"))]
    if variant == "early-stopping":
        callbacks.append(keras.callbacks.EarlyStopping("loss", patience=1, min_delta=0.2))
    latest, model = experiment.latest, built(variant)
    if latest and is_resumed:
        runback.keras.restore(model, latest)
    is_first = variant == "resumed" and not latest
    x, y = images()
    model.fit(
        *(batches(x, y),) if variant == "workers" else (x, y),
        batch_size=None if variant == "workers" else 64,
        epochs=EPOCHS // 2 if is_first else EPOCHS,
        verbose=0,
        validation_data=(x[:64], y[:64]),
        callbacks=callbacks,
    )
    if not is_first:
        mlflow.keras.log_model(model, name="model", pip_requirements=[])


def built(variant: str) -> Any:
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((8, 8, 1))])
    if variant == "augmentation":
        model.add(layers.RandomFlip("horizontal", seed=SEED))
        model.add(layers.RandomTranslation(0.1, 0.1, seed=SEED))
        model.add(layers.GaussianNoise(0.1, seed=SEED))
    for layer in (layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dropout(0.2)):
        model.add(layer)
    model.add(layers.Dense(10, dtype="float32"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def images() -> tuple[Any, Any]:
    import numpy as np

    x = np.random.default_rng(1).random((512, 8, 8, 1), dtype="float32")
    return x, x.mean(axis=(1, 2, 3)).argsort().argsort() * 10 // 512


def batches(x: Any, y: Any) -> Any:
    """Return batches that two worker processes make, each by a generator of its own number."""
    import keras
    import numpy as np

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            # Which worker makes it, and when, must not matter.
            chance = np.random.default_rng([SEED, index])
            rows = slice(64 * index, 64 * index + 64)
            return x[rows] + 0.1 * chance.random((64, 8, 8, 1), dtype="float32"), y[rows]

    return Batches(workers=2, use_multiprocessing=False)


if __name__ == "__main__":
    main()
