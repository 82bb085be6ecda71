"""Rank what may be why a replay came out differently: the drifts, and the suspects in the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.replay import clocks, drift, orders, seeds, sentences, switches
from runback.replay.drifts import HASH_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runback.evidence.finding import Divergence, Evidence
    from runback.replay.drift import Drift
    from runback.replay.suspects import Suspect

SUSPECT = "suspect"
# How likely each is the cause, when it is there, and nothing else is known: from 0 to 1.
_DRIFTS = {
    drift.RECORD: 0.95,
    drift.DATA: 0.9,
    drift.CODE: 0.85,
    drift.PACKAGE: 0.5,
    drift.PYTHON: 0.6,
    drift.LIBRARY: 0.6,
    drift.IMAGE: 0.5,
    drift.SEED: 0.6,
    drift.THREADS: 0.55,
    drift.CORES: 0.45,
    drift.CPU: 0.4,
    drift.GPU: 0.4,
    drift.VARIABLE: 0.38,
    drift.DRIVER: 0.35,
    drift.NUMERICS: 0.3,
    drift.SYSTEM: 0.2,
}
_SUSPECTS = {
    seeds.GENERATOR: 0.7,
    seeds.ENTROPY: 0.65,
    clocks.CLOCK: 0.65,
    orders.LISTING: 0.5,
    orders.COMPLETION: 0.5,
    switches.WORKERS: 0.45,
    switches.BENCHMARK: 0.4,
    switches.ALGORITHMS: 0.35,
    switches.CORES: 0.25,
    switches.TF32: 0.15,
    # Where Python's hash seed is the same, so are these.
    orders.SETS: 0.1,
    orders.HASH: 0.1,
}
_NUMERIC = {
    *("torch", "tensorflow", "tensorflow-cpu", "keras", "numpy", "scipy", "scikit-learn", "jax"),
    *("jaxlib", "lightning", "pytorch-lightning", "torchvision", "xgboost", "lightgbm", "pandas"),
    *("pillow", "opencv-python", "transformers", "accelerate", "triton", "numba", "statsmodels"),
}
_NUMERIC_PREFIXES = ("nvidia-", "intel-", "mkl", "cuda-", "tf-", "ml-dtypes")
_ARITHMETIC_VARIABLES = (
    "ATEN_",
    "CUBLAS_",
    "CUDNN_",
    "MKL_",
    "NVIDIA_",
    "OPENBLAS_",
    "TF_",
    "XLA_",
)
_HASH_SEED = {(drift.VARIABLE, "PYTHONHASHSEED"), (drift.SEED, HASH_SEED)}
_HASHED = {orders.SETS, orders.HASH}
# What each kind of divergence speaks for; the data's order is drawn, too.
_LIFTED = {
    "data": {
        *(drift.DATA, drift.CODE, drift.SEED, drift.VARIABLE, drift.RECORD, *_HASHED),
        *(orders.LISTING, orders.COMPLETION, switches.WORKERS, switches.CORES),
        *(seeds.GENERATOR, seeds.ENTROPY, clocks.CLOCK),
    },
    "randomness": {
        *(drift.SEED, drift.VARIABLE, drift.CODE, drift.RECORD, seeds.GENERATOR, seeds.ENTROPY),
        *(clocks.CLOCK, switches.WORKERS, *_HASHED),
    },
    "arithmetic": {
        *(drift.THREADS, drift.CORES, drift.NUMERICS, drift.PACKAGE, drift.PYTHON, drift.LIBRARY),
        *(drift.IMAGE, drift.CPU, drift.GPU, drift.DRIVER, drift.CODE, drift.SYSTEM, drift.RECORD),
        *(switches.BENCHMARK, switches.TF32, switches.ALGORITHMS, switches.CORES),
        *("arithmetic variable", clocks.CLOCK),
    },
}
# Before the first step nothing is summed up in parallel; what is there has been drawn.
_AFTER_BEGIN = {
    *(drift.THREADS, drift.CORES, drift.CPU, drift.GPU, drift.DRIVER, drift.NUMERICS),
    *(switches.BENCHMARK, switches.TF32, switches.ALGORITHMS, switches.WORKERS),
}


@dataclass(frozen=True)
class Cause:
    """What may be the cause. kind: of the drift, or SUSPECT. name: of the drift, or file:line.

    why: a sentence. strength: from 0 to 1; only their order means something.
    """

    kind: str
    name: str
    why: str
    strength: float


def rank(drifts: Sequence[Drift], evidence: Evidence, suspects: Sequence[Suspect]) -> list[Cause]:
    """Return what may be the cause, the likeliest first; in the same order each time.

    What the replay restored is none. Of what differs, evidence.divergence says where it
    began and whether data, randomness or arithmetic was first.
    """
    live = [one for one in drifts if not one.restored]
    hashed = [one for one in suspects if one.kind in _HASHED]
    has_other_hashes = any((one.kind, one.name) in _HASH_SEED for one in live)
    where = evidence.divergence
    found = [_of_drift(one, where, hashed, suspects) for one in live]
    share = 0.6 if any(_base(one, hashed) > 0.3 for one in live) else 1.0
    found += [_of_suspect(one, where, share, has_other_hashes) for one in suspects]
    places = {kind: place for place, kind in enumerate(_DRIFTS)}
    return sorted(found, key=lambda c: (-c.strength, places.get(c.kind, len(places)), c.name))


def _of_drift(
    one: Drift, where: Divergence | None, hashed: Sequence[Suspect], suspects: Sequence[Suspect]
) -> Cause:
    kind = "arithmetic variable" if _is_of_arithmetic(one) else one.kind
    why = sentences.of_drift(one, _places(one, hashed, suspects))
    return Cause(one.kind, one.name, why, _moved(_base(one, hashed), kind, where))


def _of_suspect(
    one: Suspect, where: Divergence | None, share: float, has_other_hashes: bool
) -> Cause:
    kind = seeds.GENERATOR if one.kind.startswith(seeds.GENERATOR) else one.kind
    base = 0.6 if kind in _HASHED and has_other_hashes else _SUSPECTS.get(kind, 0.3)
    if one.text.find("uuid") >= 0:
        base /= 2  # names, mostly
    strength = _moved(base, kind, where) * share
    return Cause(SUSPECT, f"{one.path}:{one.line}", sentences.of_suspect(one), round(strength, 4))


def _base(one: Drift, hashed: Sequence[Suspect]) -> float:
    if (one.kind, one.name) in _HASH_SEED:
        return 0.85 if hashed else 0.1
    if one.kind == drift.SEED and one.name.endswith("initial_seed"):
        return 0.75
    if one.kind == drift.PACKAGE:
        return _of_package(one)
    if one.kind == drift.THREADS and ".so" in one.name:
        return 0.42  # a library's own count, which mostly follows from a variable or the cores
    return 0.5 if _is_of_arithmetic(one) else _DRIFTS.get(one.kind, 0.3)


def _of_package(one: Drift) -> float:
    if "/" in one.name or one.name.endswith((".py", ".so")):
        return 0.85  # edited in place: somebody did it
    base = 0.7 if one.name in _NUMERIC or one.name.startswith(_NUMERIC_PREFIXES) else 0.5
    is_same_version = (one.recorded or "").split()[:1] == (one.now or "").split()[:1]
    return base / 2 if is_same_version else base


def _is_of_arithmetic(one: Drift) -> bool:
    return one.kind == drift.VARIABLE and one.name.startswith(_ARITHMETIC_VARIABLES)


def _moved(base: float, kind: str, where: Divergence | None) -> float:
    """Return a strength nearer to 1 if the divergence speaks for a kind, else half of it."""
    if where is None:
        return base
    speaks = any(kind in _LIFTED.get(what, ()) for what in where.what.split(" or "))
    moved = 1 - (1 - base) / 2 if speaks else base / 2
    return round(moved / 2 if where.at == "begin" and kind in _AFTER_BEGIN else moved, 4)


def _places(
    one: Drift, hashed: Sequence[Suspect], suspects: Sequence[Suspect]
) -> Sequence[Suspect]:
    """Return the places in the code by which a drift comes into the training."""
    if (one.kind, one.name) in _HASH_SEED:
        return hashed
    by_kind = {
        drift.CORES: (switches.CORES,),
        drift.DATA: (orders.LISTING,),
        drift.SEED: (f"{seeds.GENERATOR} of torch",) if "torch" in one.name else (),
    }
    return [suspect for suspect in suspects if suspect.kind in by_kind.get(one.kind, ())]
