"""Short trainings of a library that say how long they took and which bits they came to.

python -m bench.portable_training LIBRARY [short] [deterministic]; prints one JSON object. It is
a process of its own, since the libraries read most switches when they are imported. The data
are uniform numbers, which any processor draws alike.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from runback.capture import fingerprint
from runback.digests import digest_tensors

SIDE, BATCH, CLASSES = 28, 64, 10
SHORT = 3
Weights = dict[str, Any]
# Builds, then learns for some steps and returns the weights.
Learn = Callable[[int], Weights]


def main() -> None:
    library, *flags = sys.argv[1:]
    trainings = {
        name: measured(build("deterministic" in flags), SHORT if "short" in flags else steps)
        for name, (build, steps) in TRAININGS[library].items()
    }
    print(json.dumps({"trainings": trainings, "sums": fingerprint.compute()}))


def measured(learn: Learn, steps: int) -> dict[str, Any]:
    """Return seconds of the processor, and the digest of the weights."""
    learn(1)  # not timed: graphs are traced, kernels are made
    began_s = time.process_time()
    weights = learn(steps)
    return {"cpu": time.process_time() - began_s, "digest": digest_tensors(weights)}


def data() -> tuple[Any, Any]:
    """Return images (BATCH, SIDE, SIDE) float32 from 0 to 1, and labels (BATCH,) int64."""
    import numpy as np

    chance = np.random.default_rng(0)
    images = chance.random((BATCH, SIDE, SIDE)).astype(np.float32)
    return images, chance.integers(CLASSES, size=BATCH)


def torch_dense(is_deterministic: bool, is_fused: bool | None = None) -> Learn:
    """Return dense layers and Adam."""
    from torch import nn

    _torch(is_deterministic)
    layers = [nn.Flatten(), nn.Linear(SIDE**2, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()]
    return _torch_learn(nn.Sequential(*layers, nn.Linear(512, CLASSES)), is_fused)


def torch_fused(is_deterministic: bool) -> Learn:
    """Return the same with torch's own kernel for Adam: without, its roots are MKL's."""
    return torch_dense(is_deterministic, is_fused=True)


def torch_conv(is_deterministic: bool) -> Learn:
    """Return convolutions and fused Adam."""
    from torch import nn

    _torch(is_deterministic)
    layers = [nn.Unflatten(1, (1, SIDE)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3)]
    layers += [nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 12**2, CLASSES)]
    return _torch_learn(nn.Sequential(*layers), is_fused=True)


def torch_loop(is_deterministic: bool) -> Learn:
    """Return what a Lightning module does: norms, dropout, clipping, a schedule, a shuffle."""
    import torch
    from torch import nn

    _torch(is_deterministic)
    layers = [nn.Flatten(), nn.Linear(SIDE**2, 512), nn.BatchNorm1d(512), nn.GELU(), nn.Dropout()]
    layers += [nn.Linear(512, 512), nn.LayerNorm(512), nn.Tanh(), nn.Linear(512, CLASSES)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    x, y = (torch.from_numpy(array) for array in data())

    def step() -> None:
        order = torch.randperm(BATCH)
        loss = nn.functional.cross_entropy(model(x[order]), y[order], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    return _repeated(step, lambda: {n: w.numpy() for n, w in model.state_dict().items()})


def _torch(is_deterministic: bool) -> None:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.use_deterministic_algorithms(is_deterministic)


def _torch_learn(model: Any, is_fused: bool | None) -> Learn:
    import torch

    optimizer = torch.optim.Adam(model.parameters(), fused=is_fused)
    x, y = (torch.from_numpy(array) for array in data())

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return _repeated(step, lambda: {n: w.numpy() for n, w in model.state_dict().items()})


def _repeated(step: Callable[[], None], weights: Callable[[], Weights]) -> Learn:
    def learn(steps: int) -> Weights:
        for _ in range(steps):
            step()
        return weights()

    return learn


def keras_dense(is_deterministic: bool) -> Learn:
    """Return dense layers and Adam, by Keras on TensorFlow."""
    keras = _keras(is_deterministic)
    layers = [keras.layers.Flatten(), *(keras.layers.Dense(512, "relu") for _ in range(2))]
    return _keras_learn(keras, layers)


def keras_conv(is_deterministic: bool) -> Learn:
    """Return convolutions and Adam, by Keras on TensorFlow."""
    keras = _keras(is_deterministic)
    layers = [keras.layers.Reshape((SIDE, SIDE, 1))]
    layers += [keras.layers.Conv2D(filters, 3, activation="relu") for filters in (16, 32)]
    return _keras_learn(keras, [*layers, keras.layers.MaxPooling2D(), keras.layers.Flatten()])


def _keras(is_deterministic: bool) -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    if is_deterministic:
        tf.config.experimental.enable_op_determinism()
    return keras


def _keras_learn(keras: Any, layers: list[Any]) -> Learn:
    import tensorflow as tf

    end = keras.layers.Dense(CLASSES)
    model = keras.Sequential([keras.Input((SIDE, SIDE)), *layers, end])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = tf.data.Dataset.from_tensors(data()).repeat()

    def learn(steps: int) -> Weights:
        model.fit(batches, steps_per_epoch=steps, verbose=0)
        return {weight.path: weight.numpy() for weight in model.weights}

    return learn


def numpy_dense(is_deterministic: bool) -> Learn:
    """Return a network of two dense layers written by hand: products, tanh, softmax."""
    import numpy as np

    images, labels = data()
    x, targets = images.reshape(BATCH, -1), np.eye(CLASSES, dtype=np.float32)[labels]
    chance = np.random.default_rng(0)
    first, second = (
        (chance.random(shape, np.float32) - np.float32(0.5)) / np.float32(16)
        for shape in ((SIDE**2, 512), (512, CLASSES))
    )

    def step() -> None:
        hidden = np.tanh(x @ first)
        scores = np.exp(hidden @ second)
        error = (scores / scores.sum(axis=1, keepdims=True) - targets) / np.float32(BATCH)
        back = (error @ second.T) * (1 - hidden**2)
        np.subtract(second, np.float32(0.1) * (hidden.T @ error), out=second)
        np.subtract(first, np.float32(0.1) * (x.T @ back), out=first)

    return _repeated(step, lambda: {"first": first, "second": second})


def sklearn_linear(is_deterministic: bool) -> Learn:
    """Return components and a logistic regression, whose steps are iterations of L-BFGS."""

    def learn(steps: int) -> Weights:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression

        x, y = _table(3000, 300)
        parts = PCA(100, svd_solver="full").fit_transform(x)
        model = LogisticRegression(max_iter=steps, tol=0).fit(parts, y)
        return {"coef": model.coef_, "intercept": model.intercept_}

    return learn


def sklearn_trees(is_deterministic: bool) -> Learn:
    """Return boosted trees, one of each class for a step."""

    def learn(steps: int) -> Weights:
        from sklearn.ensemble import HistGradientBoostingClassifier

        x, y = _table(1500, 60)
        model = HistGradientBoostingClassifier(max_iter=steps, random_state=0).fit(x, y)
        return {"scores": model.decision_function(x)}

    return learn


def _table(rows: int, columns: int) -> tuple[Any, Any]:
    import numpy as np

    x = np.random.default_rng(0).random((rows, columns))
    return x, (x[:, :3].sum(axis=1) * 2).astype(int)


# By library and name: what builds it, and how many steps take about a second.
TRAININGS: dict[str, dict[str, tuple[Callable[[bool], Learn], int]]] = {
    "torch": {
        **{"dense": (torch_dense, 100), "dense, fused Adam": (torch_fused, 100)},
        **{"conv": (torch_conv, 30), "loop": (torch_loop, 80)},
    },
    "tensorflow": {"dense": (keras_dense, 150), "conv": (keras_conv, 40)},
    "numpy": {
        **{"by hand": (numpy_dense, 400), "PCA, logistic": (sklearn_linear, 200)},
        "boosted trees": (sklearn_trees, 30),
    },
}


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")  # that max_iter ended it is how it is meant
    main()
