"""Compare two real runs of one training: what differs each time is no difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from training import Store, make

from runback.evidence.compare import Wish, compare, is_identical
from runback.evidence.finding import (
    ARTIFACTS,
    CHECKPOINTS,
    DATA,
    DIFFERENT,
    EXTRA,
    LEDGER,
    METRICS,
    MISSING,
    SAME,
    UNKNOWN,
    Evidence,
)
from runback.evidence.side import Side
from runback.record import manifest
from runback.store.places import scan

CODE = """
import os, sys, time
import matplotlib
matplotlib.use("Agg")
import mlflow, numpy as np, torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

def train(name, seed):
    os.mkdir(name)
    os.chdir(name)
    with mlflow.start_run(run_name=name) as run:
        seed = int(seed)
        torch.manual_seed(seed)
        generator = np.random.default_rng(3)
        x = generator.random((64, 4)).astype("float32")
        y = (x.sum(1) > 2).astype("int64")
        mlflow.log_input(mlflow.data.from_numpy(x, targets=y), context="training")
        mlflow.log_params({"lr": 0.1, "folder": os.getcwd() + "/data"})
        net = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(3):
            loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mlflow.log_metrics({"loss": loss.item(), "epoch_time": time.perf_counter()}, step=epoch)
        state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "at": os.getcwd()}
        torch.save(state, "state.pt")
        mlflow.log_artifact("state.pt")
        forms = dict(pip_requirements=["torch"])
        mlflow.pytorch.log_model(net, name="net", step=2, input_example=x[:2], **forms)
        mlflow.pytorch.log_model(net, name="pickled", serialization_format="pickle", **forms)
        fitted = LogisticRegression(random_state=0).fit(x, y + (seed > 1) * (x[:, 0] > 0.9))
        mlflow.sklearn.log_model(fitted, name="sk", pip_requirements=["scikit-learn"])
        figure = Figure()
        figure.subplots().plot(fitted.coef_[0])
        for kind in ("png", "svg", "pdf"):
            mlflow.log_figure(figure, f"coefficients.{kind}")
        noted = {"run_id": run.info.run_id, "loss": loss.item()}
        mlflow.log_dict(noted, "a.json")
        mlflow.log_text(f"{run.info.run_id} in {os.getcwd()}", "where.txt")

home = os.getcwd()
for word in sys.argv[1:]:
    os.chdir(home)
    train(*word.split("="))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Store:
    """Return a store with two runs of one training, and one with another seed."""
    made = make(tmp_path_factory.mktemp("runs"), template)
    # One after the other: two that log a data set at once, MLflow's store may refuse (UNIQUE).
    for words in (("one=1", "other=2"), ("again=1",)):
        process = made.start(CODE, *words)
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
    return made


def side(store: Store, name: str) -> Side:
    run_id, places = store.named(name), scan(store.root / "mlruns")
    models = {found: path for found, path in places.artifacts.items() if found.startswith("m-")}
    known = manifest.read(places.record(run_id), run_id)
    return Side(run_id, places.artifacts[run_id], models, known)


def compared(store: Store, one: str, other: str) -> Evidence:
    roots = str(store.root / one), str(store.root / other)
    return compare(side(store, one), side(store, other), Wish(roots=roots))


def test_two_runs_of_one_training_are_identical(store: Store) -> None:
    found = compared(store, "one", "again")
    wrong = found.of(DIFFERENT, MISSING, EXTRA, UNKNOWN)
    assert [f for f in wrong if f.part != LEDGER] == []
    assert is_identical(found)
    assert {DATA, METRICS, CHECKPOINTS, ARTIFACTS} <= {f.part for f in found.of(SAME)}
    named = " ".join(f.detail for f in found.findings)
    for volatile in ("utc_time_created", "addresses in memory", "a timing", "date"):
        assert volatile in named


def test_another_seed_is_found_in_all_that_follows_from_it(store: Store) -> None:
    found = compared(store, "one", "other")
    differing = {f.name.split(":")[0] for f in found.of(DIFFERENT)}
    assert {
        "loss",
        "state.pt",
        "a.json",
        "coefficients.png",
        "coefficients.svg",
        "coefficients.pdf",
        "net at step 2/data/model.pt2",
        "pickled at step 0/data/model.pth",
        "sk at step 0/model.skops",
    } <= differing
    assert "where.txt" not in differing
    (weight,) = [f for f in found.findings if f.name == "state.pt: model.weight"]
    assert (weight.status, weight.count) == (DIFFERENT, 8)
    assert not is_identical(found)
