"""A scikit-learn training of a second: python train_sklearn.py --variant plain [--resume RUN]"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import runback
from runback import determinism

VARIANTS = ("plain", "augmentation", "workers", "early-stopping", "resumed")
EPOCHS, SEED = 4, 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=VARIANTS, default="plain")
    parser.add_argument("--resume", default="")
    given = parser.parse_args()
    determinism.prepare(threads=1)
    experiment = runback.resume(given.resume) if given.resume else begun(given.variant)
    with experiment:
        {"workers": forest, "early-stopping": network}.get(given.variant, classifier)(
            given.variant, experiment
        )


def begun(variant: str) -> runback.Experiment:
    return runback.init(params={"variant": variant}, experiment="sklearn")


def classifier(variant: str, experiment: runback.Experiment) -> None:
    """Train epoch by epoch; what a later process needs of it are its arrays."""
    import mlflow
    import numpy as np
    from sklearn.linear_model import SGDClassifier

    x, y = digits()
    model: Any = SGDClassifier(loss="log_loss", random_state=SEED)
    chance = np.random.default_rng(SEED)
    first, latest = 0, experiment.latest
    if latest and latest.path:
        kept = np.load(latest.path)
        model.partial_fit(x[:10], y[:10], classes=np.arange(10))  # for its shapes
        model.coef_, model.intercept_, model.t_ = kept["coef"], kept["intercept"], float(kept["t"])
        first = latest.step + 1
    last = EPOCHS // 2 if variant == "resumed" and not latest else EPOCHS
    for epoch in range(first, last):
        order = np.random.default_rng([SEED, epoch]).permutation(len(x))
        noise = 0.1 * chance.normal(size=x.shape) if variant == "augmentation" else 0
        model.partial_fit((x + noise)[order], y[order], classes=np.arange(10))
        arrays = {"coef": model.coef_, "intercept": model.intercept_, "t": model.t_}
        np.savez("model.npz", **arrays)
        metrics = {"accuracy": model.score(x, y)}
        experiment.checkpoint("model.npz", epoch, metrics, ("accuracy", "maximize"))
    if last == EPOCHS:
        mlflow.sklearn.log_model(model, name="model", pip_requirements=[])
    Path("model.npz").unlink()


def forest(variant: str, experiment: runback.Experiment) -> None:
    """Train trees in two jobs, logged by autolog."""
    import mlflow
    from sklearn.ensemble import RandomForestClassifier

    mlflow.sklearn.autolog(log_models=False)
    x, y = digits()
    model = RandomForestClassifier(20, n_jobs=2, random_state=SEED).fit(x, y)
    experiment.checkpoint(metrics={"nodes": sum(tree.tree_.node_count for tree in model)})
    trusted = ["sklearn.tree._tree.Tree"]
    mlflow.sklearn.log_model(model, name="model", pip_requirements=[], skops_trusted_types=trusted)


def network(variant: str, experiment: runback.Experiment) -> None:
    """Train a network until a tenth that it holds out is no better, logged by autolog."""
    import mlflow
    from sklearn.neural_network import MLPClassifier

    mlflow.sklearn.autolog(log_models=False)
    x, y = digits()
    model = MLPClassifier((8,), early_stopping=True, n_iter_no_change=2, random_state=SEED)
    model.fit(x, y)
    for epoch, loss in enumerate(model.loss_curve_):
        experiment.checkpoint(step=epoch, metrics={"loss": loss})
    trusted = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]
    mlflow.sklearn.log_model(model, name="model", pip_requirements=[], skops_trusted_types=trusted)


def digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x / 16, y


if __name__ == "__main__":
    main()
