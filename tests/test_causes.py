"""Why a replay may have come out differently: the likeliest first, in words, the same each time."""

from __future__ import annotations

import itertools

import pytest

from runback.evidence.finding import Divergence, Evidence
from runback.replay import drift
from runback.replay.causes import SUSPECT, rank
from runback.replay.drift import Drift
from runback.replay.suspects import Suspect

NOTHING = Evidence()
LISTING = Suspect("unordered file listing", "data.py", 12, "for f in os.listdir(folder):")
SETS = Suspect("set order", "train.py", 3, "for word in set(words):")
UNSEEDED = Suspect("unseeded generator of numpy", "train.py", 9, "x = np.random.rand(3)")
CLOCK = Suspect("wall clock", "train.py", 5, "lr = time.time() % 1")
HASH_SEED = Drift(drift.SEED, "hash seed", "drawn at the start", "drawn at the start, another")
PLANTED = [
    Drift(drift.DATA, "data", "sha256:aa…", "sha256:bb…"),
    Drift(drift.CODE, "local.py", "sha256:aa…", "sha256:bb…"),
    Drift(drift.PACKAGE, "torch", "2.9.0", "2.9.1"),
    Drift(drift.PACKAGE, "numpy/linalg.py", "as installed", "edited in place: sha256:aa…"),
    Drift(drift.PYTHON, "", "CPython 3.11.4", "CPython 3.11.5"),
    Drift(drift.LIBRARY, "libcudnn", "libcudnn.so.9.1", "libcudnn.so.9.2"),
    Drift(drift.IMAGE, "", "sha256:aa…", "sha256:bb…"),
    Drift(drift.SYSTEM, "libc", "glibc 2.36", "glibc 2.39"),
    Drift(drift.VARIABLE, "TF_ENABLE_ONEDNN_OPTS", "0", "1"),
    Drift(drift.VARIABLE, "AUGMENT", "1", "not set"),
    Drift(drift.THREADS, "torch.threads", "1", "2"),
    Drift(drift.SEED, "torch.initial_seed", "7", "8"),
    Drift(drift.CPU, "model", "A", "B"),
    Drift(drift.CORES, "usable cores", "4", "2"),
    Drift(drift.GPU, "", "H100", "H200"),
    Drift(drift.DRIVER, "", "550", "560"),
    Drift(drift.NUMERICS, "numpy.matmul", "aa", "bb"),
    Drift(drift.THREADS, "libgomp.so.1", "4", "2"),
]


def parted(what: str, at: str = "step") -> Evidence:
    return Evidence(divergence=Divergence(fit=0, at=at, epoch=0, step=1, what=what))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: f"{one.kind} {one.name}".strip())
def test_a_drift_alone_is_the_first_cause(planted: Drift) -> None:
    restored = Drift(drift.VARIABLE, "LANG", "C", "de_DE", restored=True)
    for suspects in ([], [SETS]):
        first, *rest = rank([restored, planted], NOTHING, suspects)
        assert (first.kind, first.name) == (planted.kind, planted.name)
        assert str(planted.recorded) in first.why
        assert str(planted.now) in first.why
        assert 0 < first.strength <= 1
        assert [cause.kind for cause in rest] == [SUSPECT] * len(suspects)


def test_what_was_restored_is_no_cause() -> None:
    drifts = [Drift(drift.CODE, "train.py", "a", "b", restored=True)]
    assert rank(drifts, NOTHING, []) == []


def order(*drifts: Drift, evidence: Evidence = NOTHING) -> list[str]:
    return [cause.kind for cause in rank(drifts, evidence, [])]


def test_the_usual_order() -> None:
    kinds = [drift.DATA, drift.PACKAGE, drift.THREADS, drift.CPU, drift.VARIABLE]
    by_kind = {one.kind: one for one in PLANTED if one.name not in ("TF_ENABLE_ONEDNN_OPTS",)}
    by_kind[drift.PACKAGE] = PLANTED[2]
    for mixed in itertools.permutations(by_kind[kind] for kind in kinds):
        assert order(*mixed) == kinds


def test_damaged_record_comes_first() -> None:
    damage = Drift(drift.RECORD, "metrics.jsonl: has another digest", None, None)
    first, *_ = rank([*PLANTED, damage], NOTHING, [UNSEEDED])
    assert first.why == "the record is not as it was written: metrics.jsonl: has another digest"


def test_counts_of_libraries_stand_behind_what_they_follow_from() -> None:
    library, cores = PLANTED[-1], PLANTED[13]
    variable = Drift(drift.THREADS, "OMP_NUM_THREADS", "4", "2")
    found = [cause.name for cause in rank([library, cores, variable], NOTHING, [])]
    assert found == ["OMP_NUM_THREADS", "usable cores", "libgomp.so.1"]


def test_numeric_packages_before_others_and_edits_before_all() -> None:
    names = ["click", "mlflow", "torch", "numpy/linalg.py", "rebuilt"]
    drifts = [Drift(drift.PACKAGE, name, "1.0", "1.1") for name in names]
    drifts[-1] = Drift(drift.PACKAGE, "rebuilt", "1.0 sha256:aa…", "1.0 sha256:bb…")
    found = [cause.name for cause in rank(drifts, NOTHING, [])]
    assert found == ["numpy/linalg.py", "torch", "click", "mlflow", "rebuilt"]


def test_divergence_decides_between_them() -> None:
    data, seed, threads = PLANTED[0], PLANTED[11], PLANTED[10]
    assert order(data, seed, threads, evidence=parted("data"))[0] == drift.DATA
    assert order(data, seed, threads, evidence=parted("randomness"))[0] == drift.SEED
    assert order(data, seed, threads, evidence=parted("arithmetic"))[0] == drift.THREADS
    both = order(data, seed, threads, evidence=parted("data or arithmetic"))
    assert both[0] == drift.DATA


def test_at_the_beginning_nothing_was_summed_up() -> None:
    found = order(PLANTED[10], PLANTED[4], evidence=parted("arithmetic", at="begin"))
    assert found == [drift.PYTHON, drift.THREADS]


def test_suspects_lead_where_nothing_drifted() -> None:
    found = rank([], parted("randomness"), [LISTING, SETS, UNSEEDED, CLOCK])
    assert {cause.kind for cause in found} == {SUSPECT}
    assert found[0].name == "train.py:9"
    assert found[0].why == (
        "train.py:9 draws from the generator of numpy, unseeded: x = np.random.rand(3)"
    )
    assert found[-1].name in ("data.py:12", "train.py:3")


def test_suspects_stand_behind_a_weak_drift_that_says_nothing() -> None:
    found = rank([PLANTED[7]], NOTHING, [UNSEEDED])
    assert [cause.kind for cause in found] == [SUSPECT, drift.SYSTEM]


@pytest.mark.parametrize(
    "changed", [HASH_SEED, Drift(drift.VARIABLE, "PYTHONHASHSEED", "0", "1")], ids=["drawn", "set"]
)
def test_hash_seed_matters_where_a_set_is_gone_through(changed: Drift) -> None:
    first, second, *_ = rank([changed], NOTHING, [SETS, LISTING])
    assert (first.kind, first.name) == (changed.kind, changed.name)
    assert "train.py:3 goes through a set" in first.why
    assert second.name == "train.py:3"
    weak = rank([changed], NOTHING, [LISTING])
    assert weak[-1].name == changed.name
    assert rank([], NOTHING, [SETS, LISTING])[-1].name == "train.py:3"


def test_every_suspect_has_a_sentence() -> None:
    from runback.replay import clocks, orders, seeds, switches

    kinds = [
        *(seeds.GENERATOR, seeds.ENTROPY, clocks.CLOCK, orders.SETS, orders.LISTING),
        *(orders.HASH, orders.COMPLETION, switches.WORKERS, switches.BENCHMARK),
        *(switches.TF32, switches.ALGORITHMS, switches.CORES),
    ]
    for kind in kinds:
        (cause,) = rank([], NOTHING, [Suspect(kind, "a.py", 1, "x = 1")])
        assert cause.why.startswith("a.py:1 ")
        assert cause.why.endswith(": x = 1")
        assert not cause.why.startswith(f"a.py:1 {kind}:")


def test_order_is_the_same_each_time() -> None:
    suspects = [LISTING, SETS, UNSEEDED, CLOCK]
    for evidence in (NOTHING, parted("arithmetic"), parted("data or randomness", "begin")):
        once = rank(PLANTED, evidence, suspects)
        again = rank(PLANTED[::-1], evidence, suspects[::-1])
        assert once == again
        assert [c.strength for c in once] == sorted((c.strength for c in once), reverse=True)


def test_a_name_with_braces_is_only_a_name() -> None:
    (cause,) = rank([Drift(drift.DATA, "{0.__class__}", None, "{x}")], NOTHING, [])
    assert "{0.__class__}" in cause.why
