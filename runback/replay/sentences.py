"""Say in a sentence why something may be the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.replay import clocks, drift, orders, seeds, switches
from runback.replay.drifts import HASH_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.replay.drift import Drift
    from runback.replay.suspects import Suspect

_DRIFTS = {
    drift.CODE: "the file {name} is not as it was: {change}",
    drift.DATA: "the data {name} is not what was recorded: {change}",
    drift.RECORD: "the record is not as it was written: {name}",
    drift.PYTHON: "another Python: {change}",
    drift.PACKAGE: "package {name}: {change}",
    drift.LIBRARY: "another {name} was loaded: {change}",
    drift.IMAGE: "another image: {change}",
    drift.SYSTEM: "another system ({name}): {change}",
    drift.VARIABLE: "the environment variable {name} is not as it was: {change}",
    drift.THREADS: "another number of threads ({name}): {change}",
    drift.SEED: "{name} is not as it was: {change}",
    drift.CPU: "another processor ({name}): {change}",
    drift.CORES: "another number of cores ({name}): {change}",
    drift.GPU: "another GPU: {change}",
    drift.DRIVER: "another GPU driver: {change}",
    drift.NUMERICS: "the fixed sum {name} comes out otherwise: {change}",
}
_SUSPECTS = {
    seeds.ENTROPY: "takes random bytes of the system, which nothing seeds",
    clocks.CLOCK: "computes with the time of day",
    orders.SETS: "goes through a set, whose order hangs on Python's hash seed",
    orders.HASH: "uses hash(), which hangs on Python's hash seed",
    orders.LISTING: "lists files in the file system's order",
    orders.COMPLETION: "takes results in the order in which they are done",
    switches.WORKERS: "loads data in processes whose generators nobody seeds",
    switches.BENCHMARK: "lets cuDNN choose its kernels by their speed",
    switches.TF32: "allows TF32, which other GPUs round otherwise",
    switches.ALGORITHMS: "uses kernels that need not repeat themselves",
    switches.CORES: "counts the machine's cores",
}


def of_drift(one: Drift, places: Sequence[Suspect] = ()) -> str:
    """Return a drift as a sentence, with the first place in the code that it comes in by."""
    if one.kind == drift.SEED and one.name == HASH_SEED:
        text = "Python draws its hash seed anew at each start (PYTHONHASHSEED was not set)"
    elif one.kind == drift.SEED and one.name == "torch.initial_seed":
        text = f"torch began from another seed, fixed by nobody: {_change(one)}"
    elif one.kind == drift.PACKAGE and "/" in one.name:
        text = f"the file {one.name} of an installed package: {_change(one)}"
    else:
        text = _DRIFTS.get(one.kind, "{name}: {change}").format(name=one.name, change=_change(one))
    return f"{text}; {of_suspect(places[0])}" if places else text


def of_suspect(one: Suspect) -> str:
    """Return a suspect as a sentence: where, what it does, and the line."""
    does = _SUSPECTS.get(one.kind, one.kind)
    if one.kind == seeds.GENERATOR:
        does = "makes a generator without a seed"
    elif one.kind.startswith(seeds.GENERATOR):
        does = f"draws from the generator{one.kind.removeprefix(seeds.GENERATOR)}, unseeded"
    return f"{one.path}:{one.line} {does}: {one.text}"


def _change(one: Drift) -> str:
    return f"{one.recorded or 'nothing'} → {one.now or 'nothing'}"
