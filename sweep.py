"""Search for better hyperparameters: python sweep.py [--trials 50 --workers 2 …] [-- --epochs 5 …]

What is varied stands in params.yaml, in the section `search`. Each trial is a training of its
own, `python train_mlflow.py …`, whose run can be replayed alone. After a kill, the same
command goes on where it was (docs/sweep.md).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import train
from runback import params
from runback.cli import trials
from runback.errors import ParamsError
from runback.params import Between, OneOf, Text
from runback.sweep import runs, space
from runback.sweep.design import Design
from runback.sweep.process import Process
from runback.sweep.study import opened
from runback.sweep.workers import Workers
from runback.terminal import ended, say

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from runback.sweep.study import Study
    from runback.sweep.trial import Trial

TRAINING = "train_mlflow.py"
STUDIES = train.PROJECT / ".runback" / "sweeps"
NAME = Text("a name of letters, digits, _ . -", r"\w[\w.-]{0,63}")


@dataclass(frozen=True)
class Sweep:
    """Search for better hyperparameters; after -- come the training's own options."""

    study: Annotated[str, NAME, "what it is called; the same one goes on"]
    trials: Annotated[int, Between(1, 100_000), "trainings in all"]
    workers: Annotated[int, Between(1, 64), "trainings at a time"]
    metric: Annotated[str, Text("the name of a metric"), "what counts, of the last epoch"]
    direction: Annotated[str, OneOf(("maximize", "minimize")), "which way it is better"]
    pruner: Annotated[str, OneOf(("median", "hyperband", "none")), "what ends trials early"]
    seed: Annotated[int, Between(0, 2**32 - 1), "of the search"]


def sampler(seed: int) -> BaseSampler:
    """Return what proposes the values of a trial, by what came of those before."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=5)


def pruner(name: str) -> BasePruner:
    """Return what says, after an epoch, that a trial is not worth going on."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if name == "hyperband":
        return HyperbandPruner()
    return MedianPruner(n_startup_trials=3) if name == "median" else NopPruner()


def configure(argv: list[str]) -> tuple[Sweep, train.Config, Design]:
    """Return what to do, the training's parameters, and the design. Raises ParamsError."""
    at = argv.index("--") if "--" in argv else len(argv)
    file, given = train.PROJECT / "params.yaml", argv[at + 1 :]
    wish = params.load(Sweep, argv[:at], file, "sweep")
    varied, config = space.read(train.Config, file), train.configure(given)
    if both := space.given_too(varied, given):
        raise ParamsError(both, "sweep.py")
    fixed = {name: value for name, value in vars(config).items() if name not in varied}
    goal = wish.study, wish.metric, wish.direction, wish.seed
    return wish, config, Design(*goal, varied, fixed, sampler, pruner(wish.pruner))


def search(study: Study, wish: Sweep, config: train.Config) -> None:
    """Run the trials that are still to run, and log what came of all."""
    group = os.environ.get("MLFLOW_EXPERIMENT_NAME") or config.dataset
    run = runs.begun(study, train.PROJECT, group)

    def begin(trial: Trial) -> Process:
        words = [sys.executable, TRAINING, *runs.options({**vars(config), **trial.values})]
        environ = runs.environ(os.environ, study, trial, run, group)
        return Process(words, train.PROJECT, environ, study.folder / f"trial-{trial.place}.log")

    with run, Workers(study, wish.workers, begin, say) as workers:
        for result in workers.results(wish.trials):
            print(trials.line(result, study.design), flush=True)
            runs.note(run, study)
        runs.finish(run, study)
    study.shown()


def main() -> None:
    wish, config, design = configure(sys.argv[1:])
    with opened(STUDIES / wish.study, design) as study:
        if study.is_done(wish.trials):
            say(f"study {wish.study} has its {len(study.results())} trials; --trials adds more")
        else:
            try:
                search(study, wish, config)
            except KeyboardInterrupt:
                done = len(study.results())
                say(f"{done} of {wish.trials} trials are done; the same command goes on")
                raise
        trials.show(study)


if __name__ == "__main__":
    sys.exit(ended(main))
