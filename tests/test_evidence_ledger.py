"""Compare two ledgers: the first moment that differs, and what parted first."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import Training, compared, write

from runback.evidence import ledger as evidence_ledger
from runback.evidence.compare import Wish, compare, is_identical
from runback.evidence.finding import (
    ASIDE,
    DIFFERENT,
    EXTRA,
    LEDGER,
    MISSING,
    SAME,
    UNKNOWN,
    Divergence,
    Evidence,
    Finding,
)
from runback.evidence.own import Own
from runback.evidence.side import Pair, Side
from runback.record import files, ledger
from runback.record.ledger import ALL, BEGIN, EPOCH, LAST, STEP, Line

STEPS = 3  # of an epoch


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def line(at: str, epoch: int, step: int, **more: str) -> Line:
    batch = None if at == BEGIN else digest("batch", epoch, step)
    weights = {name: digest(name, step) for name in ("dense/kernel", "dense/bias")}
    random = {name: digest(name, step) for name in ("numpy", "torch")}
    found = Line(at, 0, epoch, step, weights, random, batch, ALL if batch else None)
    return replace(found, **more)  # type: ignore[arg-type]


def kept(epochs: int = 3, by: str = EPOCH) -> list[Line]:
    """Return the ledger of a training."""
    found = [line(BEGIN, 0, 0, data=digest("data"))]
    for epoch in range(epochs):
        steps = range(epoch * STEPS + 1, (epoch + 1) * STEPS + 1)
        found += [line(STEP, epoch, step) for step in steps if by == STEP]
        found.append(line(EPOCH, epoch, (epoch + 1) * STEPS))
    return found


def parted(lines: Sequence[Line], at: int, *what: str) -> list[Line]:
    """Return the lines, of which those from `at` on differ in these fields."""
    return [*lines[:at], *(_other(one, what) for one in lines[at:])]


def _other(one: Line, what: Sequence[str]) -> Line:
    found = one
    if "weights" in what:
        found = replace(found, weights={n: digest(d) for n, d in one.weights.items()})
    if "torch" in what:
        found = replace(found, random={**one.random, "torch": digest(one.random["torch"])})
    if "batch" in what and one.batch:
        found = replace(found, batch=digest(one.batch))
    if "data" in what and one.data:
        found = replace(found, data=digest(one.data))
    return found


def of_lines(one: Sequence[Line], other: Sequence[Line], wish: Wish | None = None) -> Evidence:
    with tempfile.TemporaryDirectory() as folder:
        sides = [Side(name, Path(folder, name), {}, {}) for name in "ab"]
        for side, lines in zip(sides, (one, other), strict=True):
            content = b"".join(ledger.to_line(each) + b"\n" for each in lines)
            write(side.record / files.LEDGER, content)
        pair = Pair(sides[0], sides[1], wish or Wish(), ({}, {}), (Own(), Own()))
        return Evidence(*evidence_ledger.compare(pair))


def test_two_ledgers_that_agree(tmp_path: Path) -> None:
    training = Training(lines=kept())
    found = compared(tmp_path, training, training)
    assert found.divergence is None
    assert [(f.name, f.status, f.count) for f in found.findings if f.part == LEDGER] == [
        ("data", SAME, 1),
        ("batches", SAME, 3),
        ("weights", SAME, 4),
        ("generators", SAME, 4),
        ("final weights", SAME, 2),
    ]
    assert is_identical(found)


CAUSES = {
    # What differs at the moment, what from the next on, and what it is called.
    "arithmetic": (("weights",), ("weights",), "arithmetic"),
    "data": (("batch", "weights"), ("batch", "weights"), "data"),
    "data alone": (("batch",), ("batch", "weights"), "data"),
    "randomness": (("torch", "weights"), ("torch", "weights"), "randomness"),
    "randomness, later weights": (("torch",), ("torch", "weights"), "randomness"),
    "randomness, later batches": (("torch",), ("torch", "batch", "weights"), "randomness"),
    "at once": (
        ("torch", "batch", "weights"),
        ("torch", "batch", "weights"),
        "data or randomness",
    ),
}


@settings(deadline=None, max_examples=80)
@given(st.data(), st.sampled_from(sorted(CAUSES)), st.sampled_from([STEP, EPOCH]))
def test_the_first_moment_and_its_cause(data: st.DataObject, cause: str, by: str) -> None:
    lines = kept(data.draw(st.integers(2, 5)), by)
    at = data.draw(st.integers(1, len(lines) - 2))
    now, later, what = CAUSES[cause]
    other = parted(parted(lines, at, *now), at + 1, *set(later) - set(now))
    found = of_lines(lines, other)
    assert found.divergence is not None
    where = lines[at]
    assert (found.divergence.what, found.divergence.at) == (what, where.at)
    assert (found.divergence.epoch, found.divergence.step) == (where.epoch, where.step)
    weights = next(f for f in found.findings if f.name == "weights")
    assert weights.status == DIFFERENT
    assert weights.differing == len(lines) - at - ("weights" not in now)
    assert [f.name for f in found.findings if f.name.startswith("final weights: ")] == [
        "final weights: dense/bias",
        "final weights: dense/kernel",
    ]


def _named(divergence: Divergence | None) -> tuple[str, str, int]:
    assert divergence is not None
    return divergence.what, divergence.at, divergence.epoch


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (("weights",), "randomness or arithmetic"),
        (("weights", "torch"), "randomness"),
        (("data", "weights"), "data"),
        (("data",), "data"),
    ],
)
def test_at_the_beginning(what: tuple[str, ...], expected: str) -> None:
    found = of_lines(kept(), parted(kept(), 0, *what))
    assert _named(found.divergence) == (expected, BEGIN, 0)


def test_a_seed_that_differs_is_where_it_parted() -> None:
    other = parted(parted(kept(), 0, "torch"), 1, "weights", "batch")
    found = of_lines(kept(), other).divergence
    assert _named(found) == ("randomness", BEGIN, 0)
    assert found is not None
    assert found.names == ("torch",)


def test_a_generator_that_nothing_was_drawn_from_is_no_cause() -> None:
    idle = [replace(one, random={**one.random, "python": "0" * 16}) for one in kept()]
    other = [replace(one, random={**one.random, "python": "1" * 16}) for one in kept()]
    found = of_lines(idle, parted(other, 2, "weights")).divergence
    assert _named(found) == ("arithmetic", EPOCH, 1)
    assert found is not None
    assert found.detail == "the same batches; the same generators (python differ, not drawn from)"


def test_generators_alone_are_set_aside() -> None:
    found = of_lines(kept(), parted(kept(), 1, "torch"))
    assert found.divergence is None
    assert [(f.name, f.status) for f in found.findings if f.status != SAME] == [
        ("generators", ASIDE)
    ]


@pytest.mark.parametrize("batches", [LAST, None])
def test_batches_that_were_not_all_seen(batches: str | None) -> None:
    lines = [replace(one, batches=batches, batch=one.batch if batches else None) for one in kept()]
    found = of_lines(lines, parted(lines, 2, "weights"))
    assert _named(found.divergence) == ("data or arithmetic", EPOCH, 1)


def test_ledgers_by_epoch_and_by_step_are_compared_by_epoch() -> None:
    found = of_lines(kept(by=STEP), kept())
    assert found.divergence is None
    weights = next(f for f in found.findings if f.name == "weights")
    assert (weights.status, weights.count) == (SAME, 4)
    assert not any(f.name == "batches" for f in found.findings)
    found = of_lines(kept(), parted(kept(by=STEP), 5, "weights"))
    assert _named(found.divergence) == ("data or arithmetic", EPOCH, 1)


def test_a_tensor_of_which_only_one_knows() -> None:
    other = [replace(one, weights={"dense/kernel": one.weights["dense/kernel"]}) for one in kept()]
    found = of_lines(kept(), other)
    assert Finding(
        LEDGER, "final weights: dense/bias", MISSING, differing=1, detail="by digest"
    ) in (found.findings)


def test_moments_that_are_missing_or_more() -> None:
    found = of_lines(kept(3), kept(2))
    assert [(f.name, f.status, f.count) for f in found.findings][-3] == ("moments", MISSING, 1)
    assert _named(found.divergence) == ("data or randomness or arithmetic", EPOCH, 2)
    found = of_lines(kept(2), kept(3))
    assert ("moments", EXTRA) in [(f.name, f.status) for f in found.findings]
    found = of_lines(kept(2), kept(3), Wish(is_partial=True))
    assert found.divergence is None
    assert {f.status for f in found.findings} == {SAME, ASIDE}


def test_another_number_of_steps_is_a_divergence() -> None:
    other = [replace(one, step=(one.step or 0) * 2) for one in kept()]
    found = of_lines(kept(), other)
    assert _named(found.divergence) == ("data or randomness or arithmetic", EPOCH, 0)
    assert found.of(MISSING, EXTRA)


def test_a_replay_from_a_step_is_aligned() -> None:
    whole = kept(4)
    begun = replace(whole[2], at=BEGIN, epoch=2, step=0, batch=None, batches=None)
    later = [replace(one, step=(one.step or 0) - 2 * STEPS) for one in whole[3:]]
    found = of_lines(whole, [begun, *later], Wish(from_step=1))
    assert found.divergence is None
    assert [(f.name, f.status, f.count) for f in found.findings][:2] == [
        ("batches", SAME, 2),
        ("weights", SAME, 3),
    ]
    assert [f.detail for f in found.of(UNKNOWN)] == ["not run again: the replay began after step 1"]
    counted_anew = [replace(one, epoch=one.epoch - 2) for one in (begun, *later)]
    again = of_lines(whole, parted(counted_anew, 1, "weights"), Wish(from_step=1))
    assert _named(again.divergence) == ("arithmetic", EPOCH, 2)
    nowhere = of_lines(whole[:1], [begun, *later], Wish(from_step=1))
    assert nowhere.of(UNKNOWN)
    assert not nowhere.of(SAME)


def test_one_ledger_alone(tmp_path: Path) -> None:
    found = compared(tmp_path, Training(lines=kept()), Training())
    assert not is_identical(found)
    found = compared(tmp_path / "2", Training(), Training(lines=kept()))
    assert is_identical(found)
    assert [f.detail.split(" (")[0] for f in found.of(UNKNOWN)] == ["the original kept one"]


def test_a_damaged_ledger_is_not_compared(tmp_path: Path) -> None:
    training = Training(lines=kept())
    sides = [training.side(tmp_path / name / "mlruns") for name in "ab"]
    with (sides[1].record / files.LEDGER).open("a") as file:
        file.write("{}\n")
    found = compare(sides[0], sides[1])
    assert [f.part for f in found.of(UNKNOWN)] == [LEDGER]
    assert not is_identical(found)
