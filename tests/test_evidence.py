"""Compare two records: how they ended, params, metrics, data, files by their digests."""

from __future__ import annotations

import itertools
import json
import math
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import POINTS, Model, Training, compared, notable, only, point, write

from runback.errors import RecordError
from runback.evidence.compare import Wish, compare, is_identical, is_within
from runback.evidence.finding import (
    ARTIFACTS,
    ASIDE,
    CHECKPOINTS,
    DATA,
    DIFFERENT,
    EXTRA,
    KILLED,
    LEDGER,
    METRICS,
    MISSING,
    PARAMS,
    SAME,
    STATUS,
    UNKNOWN,
    WITHIN,
    Finding,
)
from runback.evidence.metrics import compare as compare_metrics
from runback.evidence.numbers import ulps
from runback.evidence.own import Own
from runback.evidence.side import Pair, Side
from runback.record import files, metrics

LARGEST = 1.7976931348623157e308


def test_two_records_of_one_training_are_identical(tmp_path: Path) -> None:
    training = Training(artifacts={"a.bin": b"\0"}, models=[Model("m", 1, {"m.bin": b"x"})])
    found = compared(tmp_path, training, training)
    assert notable(found, METRICS) == []
    assert {f.part for f in found.of(SAME)} == {STATUS, PARAMS, METRICS, CHECKPOINTS, ARTIFACTS}
    assert is_identical(found)
    assert is_within(found)


def test_nothing_that_a_training_computed_is_not_identical(tmp_path: Path) -> None:
    found = compared(tmp_path, Training(points=()), Training(points=()))
    assert found.of(DIFFERENT, MISSING, EXTRA) == []
    assert not is_identical(found)


def test_ends_that_differ(tmp_path: Path) -> None:
    failed = Training(status="FAILED", manifest={"ended": {"by": "ValueError: no"}})
    found = compared(tmp_path, Training(), failed)
    assert notable(found, STATUS) == [
        Finding(STATUS, "status", DIFFERENT, recorded="FINISHED", replayed="FAILED", differing=1),
        Finding(STATUS, "ended by", DIFFERENT, recorded="", replayed="ValueError: no", differing=1),
    ]
    assert not is_identical(found)


def test_a_killed_original_is_compared_as_far_as_it_came(tmp_path: Path) -> None:
    whole = Training(params={"lr": "0.1", "late": "1"}, artifacts={"late.bin": b"\0"})
    killed = Training(points=POINTS[:2], status="KILLED")
    found = compared(tmp_path, killed, whole, Wish(is_partial=True))
    assert [(f.name, f.detail) for f in found.of(ASIDE)] == [
        ("status", KILLED),
        ("late", KILLED),
        ("loss", KILLED),
        ("late.bin", KILLED),
    ]
    assert is_identical(found)
    again = compared(tmp_path / "other", killed, whole)
    assert [f.status for f in notable(again, METRICS)] == [EXTRA]


@pytest.mark.parametrize(
    ("recorded", "replayed", "status"),
    [
        ({"a": "1"}, {"a": "1"}, SAME),
        ({"a": "1"}, {"a": "1.0"}, DIFFERENT),
        ({"a": "1"}, {}, MISSING),
        ({}, {"a": "1"}, EXTRA),
        ({"a": "/old/x.csv"}, {"a": "/new/x.csv"}, SAME),
        ({"a": "/old"}, {"a": "/new"}, SAME),
        ({"a": "/old/x and /old"}, {"a": "/old/x and /new"}, SAME),
        ({"a": "/older/x.csv"}, {"a": "/newer/x.csv"}, DIFFERENT),
        ({"a": "/old/x.csv"}, {"a": "/new/y.csv"}, DIFFERENT),
        ({"lr": "1"}, {"lr": "2"}, ASIDE),
    ],
)
def test_params(
    recorded: dict[str, str], replayed: dict[str, str], status: str, tmp_path: Path
) -> None:
    wish = Wish(roots=("/old", "/new"), ignore=["l?"])
    one, other = Training(params=recorded), Training(params=replayed)
    assert only(compared(tmp_path, one, other, wish), PARAMS).status == status


NUMBERS = st.floats().filter(lambda x: abs(x) != LARGEST)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_bit_that_differs_anywhere_is_found(data: st.DataObject) -> None:
    values = data.draw(st.lists(NUMBERS, min_size=1, max_size=20))
    at = data.draw(st.integers(0, len(values) - 1))
    flipped = _flipped(values[at], data.draw(st.integers(0, 63)))
    one = [("x", value, step) for step, value in enumerate(values)]
    other = [("x", flipped if step == at else value, step) for _, value, step in one]
    order = data.draw(st.permutations(other))
    (found,) = of_points(one, order)
    if (math.isnan(values[at]) and math.isnan(flipped)) or abs(flipped) == LARGEST:
        return
    assert (found.status, found.step, found.differing) == (DIFFERENT, at, 1)
    assert found.count == len(values)
    assert [repr(found.recorded), repr(found.replayed)] == [repr(values[at]), repr(flipped)]
    is_known = not (math.isnan(values[at]) or math.isnan(flipped))
    assert (found.ulps is not None and found.ulps > 0) == is_known


def of_points(*both: list[tuple[str, float, int]]) -> list[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        sides = [Side(name, Path(folder, name), {}, {}) for name in "ab"]
        for side, points in zip(sides, both, strict=True):
            lines = "".join(metrics.to_line(point(*p)) + "\n" for p in points)
            write(side.record / files.METRICS, lines.encode())
        return [*compare_metrics(Pair(sides[0], sides[1], Wish(), ({}, {}), (Own(), Own())))]


def _flipped(value: float, bit: int) -> float:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    (found,) = struct.unpack("<d", struct.pack("<Q", bits ^ 1 << bit))
    return float(found)


@given(st.floats(0, 1e300), st.integers(0, 1000))
def test_ulps_are_steps_from_one_double_to_the_next(start: float, steps: int) -> None:
    start, end = abs(start), abs(start)
    for _ in range(steps):
        end = math.nextafter(end, math.inf)
    assert ulps(start, end) == ulps(end, start) == ulps(-start, -end) == steps
    # -0.0 lies between the negative and the positive ones, as a number of its own.
    assert ulps(-start, end) == (ulps(0.0, start) or 0) + (ulps(0.0, end) or 0) + 1


def test_zeros_and_nans(tmp_path: Path) -> None:
    one = Training([("a", 0.0, 0), ("b", math.nan, 0), ("c", math.nan, 0), ("d", math.inf, 0)])
    other = Training([("a", -0.0, 0), ("b", math.nan, 0), ("c", 0.0, 0), ("d", -math.inf, 0)])
    found = compared(tmp_path, one, other)
    by_name = {f.name: (f.status, f.ulps) for f in found.findings if f.part == METRICS}
    assert by_name["a"] == (DIFFERENT, 1)
    assert by_name["b"] == (SAME, None)
    assert by_name["c"] == (DIFFERENT, None)
    assert by_name["d"][0] == DIFFERENT


def test_first_values_and_the_largest_difference(tmp_path: Path) -> None:
    later = [("loss", 0.5, 0), ("loss", math.nextafter(0.25, 1), 1), ("loss", 1.125, 2)]
    found = only(compared(tmp_path, Training(), Training(later)), METRICS)
    assert (found.count, found.differing, found.step) == (3, 2, 1)
    assert (found.recorded, found.replayed) == (0.25, math.nextafter(0.25, 1))
    assert found.largest == 1.0
    assert found.ulps == 1


def test_several_points_at_one_step_are_compared_in_order(tmp_path: Path) -> None:
    one, other = ([("x", value, 0) for value in order] for order in ((1.0, 2.0), (2.0, 1.0)))
    found = only(compared(tmp_path, Training(one), Training(other)), METRICS)
    assert (found.status, found.differing) == (DIFFERENT, 2)


def test_points_that_are_missing_or_more(tmp_path: Path) -> None:
    found = compared(tmp_path, Training(), Training(POINTS[:2]))
    assert notable(found, METRICS) == [
        Finding(METRICS, "loss", MISSING, count=2, step=2, detail="1 points missing")
    ]
    found = compared(tmp_path / "more", Training(), Training([*POINTS, ("acc", 1.0, 0)]))
    assert notable(found, METRICS) == [
        Finding(METRICS, "acc", EXTRA, count=0, step=0, detail="1 points more")
    ]


TIMINGS = """
epoch_time epoch_time_s time fit_time fitTime train_runtime duration duration_s wall_time elapsed
samples_per_sec train_samples_per_second train/steps_per_second throughput
"""
RESULTS = """
timestep_mae val_ms_ssim ms_ssim MS_COCO_mAP predicted_duration_mean mean_survival_time time_mase
time_series_smape time_to_event_cindex avg_wait_time network_throughput time_constant dice_ms
ctc_time_wer val_time_iou energy_per_s \u03b1_time loss_per_sample secret
"""


@pytest.mark.parametrize(
    ("name", "is_aside"),
    [
        ("system/cpu", True),
        *((name, True) for name in TIMINGS.split()),
        *((name, False) for name in RESULTS.split()),
    ],
)
def test_timings_are_set_aside(name: str, is_aside: bool, tmp_path: Path) -> None:
    one, other = (Training([*POINTS, (name, value, 0)]) for value in (1.0, 2.0))
    (found,) = notable(compared(tmp_path, one, other), METRICS)
    assert (found.name, found.status == ASIDE) == (name, is_aside)


def test_a_timing_that_is_missing_or_more_is_no_timing_of_both(tmp_path: Path) -> None:
    timed = [("time", 1.0, 0), ("time", 2.0, 1)]
    one, none, part = (Training([*POINTS, *p]) for p in (timed, (), [("time", 1.5, 0)]))
    assert [f.status for f in notable(compared(tmp_path / "1", one, none), METRICS)] == [MISSING]
    assert [f.status for f in notable(compared(tmp_path / "2", none, one), METRICS)] == [EXTRA]
    found = notable(compared(tmp_path / "3", one, part), METRICS)
    assert [f.status for f in found] == [ASIDE, MISSING]


def test_tolerance(tmp_path: Path) -> None:
    near = Training([("loss", 0.5 + 1e-9, 0), *POINTS[1:]])
    found = compared(tmp_path, Training(), near, Wish(tolerance=1e-6))
    assert [f.status for f in notable(found, METRICS)] == [WITHIN]
    assert is_within(found)
    assert not is_identical(found)
    found = compared(tmp_path / "bits", Training(), near)
    assert not is_within(found)


def test_a_replay_from_a_step_compares_what_it_ran(tmp_path: Path) -> None:
    one = Training([*POINTS, ("final", 1.0, 0)])
    other = Training([POINTS[2], ("final", 1.0, 0)])
    found = compared(tmp_path, one, other, Wish(from_step=1))
    (early, same) = [f for f in found.findings if f.name == "loss"]
    assert (early.status, early.count) == (UNKNOWN, 2)
    assert early.detail == "not run again: the replay began after step 1"
    assert (same.status, same.count) == (SAME, 1)
    assert only_named(found.findings, "final").status == SAME
    assert not is_identical(found)


def only_named(findings: list[Finding], name: str) -> Finding:
    (found,) = [f for f in findings if f.name == name]
    return found


def test_a_damaged_file_of_metrics_is_not_compared(tmp_path: Path) -> None:
    sides = [Training().side(tmp_path / name / "mlruns") for name in "ab"]
    (sides[1].record / files.METRICS).write_text("[]\n")
    found = compare(sides[0], sides[1])
    assert [f.status for f in notable(found, METRICS)] == [UNKNOWN]
    assert not is_identical(found)
    (sides[1].record / files.RUN).write_text("{}")
    with pytest.raises(RecordError):
        compare(sides[0], sides[1])


DATASETS = {"inputs": [{"source_type": "DATASET", "destination_type": "RUN", "source_id": "d"}]}


def _data(digest: str | None, **declared: dict[str, Any]) -> Training:
    rows = [{"dataset_uuid": "d", "name": "train", "digest": digest}] if digest else []
    return Training(rows={**DATASETS, "datasets": rows}, manifest={"data": declared})


@pytest.mark.parametrize(
    ("one", "other", "statuses"),
    [
        (_data("1"), _data("1"), [SAME]),
        (_data("1"), _data("2"), [DIFFERENT]),
        (_data("1"), _data(None), [MISSING]),
        (_data(None), _data("1"), [EXTRA]),
        (_data(None, x={"digest": "1"}), _data(None, x={"digest": "1"}), [SAME]),
        (_data(None, x={"digest": "1"}), _data(None, x={"digest": "2"}), [DIFFERENT]),
        (_data(None, x={"digest": "1"}), _data(None, x={"missing": "gone"}), [MISSING]),
        (_data(None, x={"missing": "gone"}), _data(None, x={"missing": "gone"}), [UNKNOWN]),
        (_data(None, x={"digest": "1", "unreadable": {"a": "no"}}), _data(None, x={"digest": "1"}),
         [UNKNOWN]),
    ],
)  # fmt: skip
def test_data(one: Training, other: Training, statuses: list[str], tmp_path: Path) -> None:
    found = compared(tmp_path, one, other)
    assert [f.status for f in found.findings if f.part == DATA] == statuses


def test_declared_paths_are_those_of_the_project(tmp_path: Path) -> None:
    one, other = (
        Training(manifest={"data": {"data": {"digest": "1"}}}),
        {"/new/data": {"digest": "1"}},
    )
    found = compared(
        tmp_path, one, Training(manifest={"data": other}), Wish(roots=("/old", "/new"))
    )
    assert only(found, DATA).status == SAME


def test_checkpoints_are_paired_by_name_step_and_order(tmp_path: Path) -> None:
    one = [
        Model("m", 1, {"m.bin": b"\0a"}),
        Model("m", 1, {"m.bin": b"\0b"}),
        Model("m", 2, {"m.bin": b"\0c"}),
    ]
    found = compared(tmp_path, Training(models=one), Training(models=one))
    assert [f.name for f in found.of(SAME) if f.part == CHECKPOINTS] == [
        "m at step 1",
        "m at step 1 (2)",
        "m at step 2",
    ]
    found = compared(tmp_path / "2", Training(models=one), Training(models=one[:2]))
    assert [(f.name, f.status) for f in notable(found, CHECKPOINTS)] == [("m at step 2", MISSING)]
    swapped = Training(models=[one[1], one[0], one[2]])
    found = compared(tmp_path / "3", Training(models=one), swapped)
    assert [(f.name, f.status) for f in notable(found, CHECKPOINTS)] == [
        ("m at step 1/m.bin", DIFFERENT),
        ("m at step 1 (2)/m.bin", DIFFERENT),
    ]


def test_checkpoints_before_the_step_are_not_run_again(tmp_path: Path) -> None:
    models = [Model("m", step, {"m.bin": b"\0"}) for step in range(3)]
    found = compared(
        tmp_path, Training(models=models), Training(models=models[2:]), Wish(from_step=1)
    )
    (early,) = notable(found, CHECKPOINTS)
    assert (early.status, early.count) == (UNKNOWN, 2)


def test_files_that_are_missing_more_or_not_here(tmp_path: Path) -> None:
    one = Training(artifacts={"a.bin": b"\0a", "b.bin": b"\0b", "same.bin": b"\0"})
    other = Training(artifacts={"a.bin": b"\0A", "c.bin": b"\0c", "same.bin": b"\0"})
    found = compared(tmp_path, one, other)
    assert [(f.name, f.status) for f in notable(found, ARTIFACTS)] == [
        ("a.bin", DIFFERENT),
        ("b.bin", MISSING),
        ("c.bin", EXTRA),
    ]
    (tmp_path / "x").mkdir()
    sides = [t.side(tmp_path / "x" / str(n) / "mlruns") for n, t in enumerate((one, other))]
    (sides[0].artifacts / "a.bin").unlink()
    (sides[0].artifacts / "same.bin").unlink()
    by_name = {f.name: f for f in compare(sides[0], sides[1]).findings if f.part == ARTIFACTS}
    assert by_name["same.bin"].status == SAME
    assert by_name["a.bin"].status == UNKNOWN
    assert by_name["a.bin"].detail == "its digests differ, and a.bin is missing: not looked into"


def test_what_came_after_the_end_is_compared_too(tmp_path: Path) -> None:
    one, other = (Training(artifacts={"a.bin": b"\0"}).side(tmp_path / n / "mlruns") for n in "ab")
    (one.artifacts / "late.bin").write_bytes(b"\1")
    (one.artifacts / "both.bin").write_bytes(b"\2")
    (other.artifacts / "both.bin").write_bytes(b"\3")
    found = compare(one, other)
    assert [(f.name, f.status) for f in notable(found, ARTIFACTS)] == [
        ("both.bin", DIFFERENT),
        ("late.bin", MISSING),
    ]


def test_a_name_or_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    sides = [Training(artifacts={"d/a.bin": b"\0"}).side(tmp_path / n / "mlruns") for n in "ab"]
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.bin").write_bytes(b"secret")
    artifacts = sides[1].manifest["artifacts"]
    artifacts["d/a.bin"]["digest"] = "sha256:" + "0" * 64
    artifacts["../../a.bin"] = sides[0].manifest["artifacts"]["../../a.bin"] = {}
    folder = sides[1].artifacts / "d"
    (folder / "a.bin").unlink()
    folder.rmdir()
    folder.symlink_to(secret)
    found = {f.name: f for f in compare(sides[0], sides[1]).findings if f.part == ARTIFACTS}
    assert found["d/a.bin"].status == UNKNOWN
    assert "symbolic link" in found["d/a.bin"].detail
    assert found["../../a.bin"].status == UNKNOWN
    assert "leads out" in found["../../a.bin"].detail


def _image(step: int, time: int, uuid: str, end: str = ".png") -> str:
    return f"images/a+step+{step}+timestamp+{time}+{uuid * 8}-0000-4000-8000-{uuid * 12}{end}"


def test_pictures_that_mlflow_names_by_time_are_paired(tmp_path: Path) -> None:
    small = "+compressed.webp"
    one = {_image(0, 10, "a"): b"\0a", _image(0, 11, "b"): b"\0b", _image(1, 9, "c"): b"\0c"}
    other = {_image(0, 71, "f"): b"\0a", _image(0, 72, "e"): b"\0b", _image(1, 73, "d"): b"\0c"}
    same = {_image(0, 10, "a", small): b"\0s"}, {_image(0, 71, "f", small): b"\0s"}
    both = Training(artifacts={**one, **same[0]}), Training(artifacts={**other, **same[1]})
    found = compared(tmp_path / "1", *both)
    assert notable(found, ARTIFACTS) == []
    assert [f.name for f in found.findings if f.part == ARTIFACTS] == [
        "images/a+step+0 (2).png",
        "images/a+step+0+compressed.webp",
        "images/a+step+0.png",
        "images/a+step+1.png",
    ]
    other[_image(1, 73, "d")] = b"\0C"
    (parted,) = notable(
        compared(tmp_path / "2", Training(artifacts=one), Training(artifacts=other)), ARTIFACTS
    )
    assert (parted.name, parted.status) == ("images/a+step+1.png", UNKNOWN)
    assert parted.detail.startswith("differs in its bytes")  # it was found, and is no picture


def test_artifacts_of_before_are_not_made_again(tmp_path: Path) -> None:
    one, other = Training(artifacts={"a.bin": b"1", "b.bin": b"1"}), {"b.bin": b"1", "c.bin": b"1"}
    found = compared(tmp_path, one, Training(artifacts=other), Wish(from_step=1))
    (early, extra) = notable(found, ARTIFACTS)
    assert (early.name, early.status) == ("a.bin", UNKNOWN)
    assert early.detail == "not run again: the replay began after step 1"
    assert (extra.name, extra.status) == ("c.bin", EXTRA)


FIRST_MS = 1_700_000_000_000


def _from_step_1(folder: Path, points: Any, replayed: Any) -> list[tuple[str, str, int]]:
    """Return what is found of metrics; the checkpoint of step 1 was kept between 1 and 2."""
    kept = [
        {"model_id": "m-1", "name": "m", "status": 2, "creation_timestamp_ms": FIRST_MS + 1},
    ]
    outputs = [
        {"source_type": "RUN_OUTPUT", "destination_id": "m-1", "step": 1, "source_id": "one"},
    ]
    rows = {"logged_models": kept, "inputs": outputs}
    sides = [Side(name, folder / name, {}, {}) for name in ("one", "other")]
    for side, logged in zip(sides, (points, replayed), strict=True):
        lines = [metrics.Point(k, v, FIRST_MS + ms, step, False) for k, v, step, ms in logged]
        text = "".join(metrics.to_line(line) + "\n" for line in lines)
        write(side.record / files.METRICS, text.encode())
    pair = Pair(sides[0], sides[1], Wish(from_step=1), (rows, {}), (Own(), Own()))
    found = compare_metrics(pair)
    return [(f.name, f.status, f.differing or f.count) for f in found]


def test_what_was_logged_late_at_an_early_step_is_not_excused(tmp_path: Path) -> None:
    trained = [("a", 0.5, 0, 0), ("a", 0.5, 1, 1), ("v", 1.0, 1, 2), ("a", 0.5, 2, 3)]
    final, again = ("test", 1.0, 0, 9), ("a", 0.5, 2, 90)
    early = [("a", UNKNOWN, 2), ("a", SAME, 1)]
    seen = _from_step_1(tmp_path / "1", [*trained, final], [again])
    assert seen == [*early, ("test", MISSING, 0), ("v", UNKNOWN, 1)]
    seen = _from_step_1(tmp_path / "2", [*trained, final], [again, ("test", 1.0, 0, 99)])
    assert seen == [*early, ("test", SAME, 1), ("v", UNKNOWN, 1)]
    # Two of one metric at a step: that of before and that of the end.
    both = [*trained, ("test", 7.0, 0, 0), final]
    seen = _from_step_1(tmp_path / "3", both, [again, ("test", 2.0, 0, 99)])
    assert seen[2:4] == [("test", UNKNOWN, 1), ("test", DIFFERENT, 1)]
    seen = _from_step_1(tmp_path / "4", trained, [again, ("new", 2.0, 0, 99)])
    assert ("new", EXTRA, 0) in seen


def test_damaged_types_of_rows_are_not_compared(tmp_path: Path) -> None:
    place = [{"experiment_id": 1, "name": "x", "artifact_location": 7}]
    step = [{"source_type": "RUN_OUTPUT", "source_id": "x", "step": "1", "destination_id": "m-1"}]
    time = [{"model_id": "m-1", "name": "m", "status": 2, "creation_timestamp_ms": "1"}]
    for rows, part in (
        ({"experiments": place}, ARTIFACTS),
        ({"inputs": step}, CHECKPOINTS),
        ({"logged_models": time}, CHECKPOINTS),
    ):
        sides = [Training().side(tmp_path / part / n / next(iter(rows)) / "mlruns") for n in "ab"]
        path = sides[0].record / files.RUN
        content = json.loads(path.read_text())
        content["rows"] |= rows
        path.write_text(json.dumps(content))
        found = compare(sides[0], sides[1])
        assert (part, files.RUN) in [(f.part, f.name) for f in found.of(UNKNOWN)]
        assert not is_identical(found)


def test_numbers_and_nans_mixed_never_raise(tmp_path: Path) -> None:
    values = (1.0, math.nan, math.inf, -math.inf, 0.0)
    one = Training([(f"m{n}", a, 0) for n, (a, _) in enumerate(itertools.product(values, values))])
    other = [(f"m{n}", b, 0) for n, (_, b) in enumerate(itertools.product(values, values))]
    for nth, tolerance in enumerate((None, 0.5, math.inf)):
        found = compared(tmp_path / str(nth), one, Training(other), Wish(tolerance=tolerance))
        largest = [f.largest for f in found.findings if f.largest is not None]
        assert largest
        assert not any(map(math.isnan, largest))
        assert not is_within(found)


def test_event_files_of_tensorboard_are_set_aside(tmp_path: Path) -> None:
    one = Training(artifacts={"tb/events.out.tfevents.1.host": b"1"})
    other = Training(artifacts={"tb/events.out.tfevents.2.host": b"2"})
    found = compared(tmp_path, one, other)
    assert [(f.name, f.status) for f in notable(found, ARTIFACTS)] == [
        ("tb/events.out.tfevents.*", ASIDE)
    ]


def test_what_the_user_sets_aside_is_named(tmp_path: Path) -> None:
    one = Training([*POINTS, ("noise", 1.0, 0)], artifacts={"a.bin": b"\0"})
    other = Training([*POINTS, ("noise", 2.0, 0)], artifacts={"a.bin": b"\1"})
    found = compared(tmp_path, one, other, Wish(ignore=["noi*", "*.bin"]))
    assert [(f.name, f.detail) for f in found.of(ASIDE)] == [
        ("noise", "as asked: noi*"),
        ("a.bin", "as asked: *.bin"),
    ]
    assert is_identical(found)


def test_a_record_that_is_not_final_is_digested_now(tmp_path: Path) -> None:
    killed = Training(status="RUNNING", artifacts={"a.bin": b"\0"})
    found = compared(tmp_path, killed, Training(artifacts={"a.bin": b"\1"}))
    assert [(f.name, f.status) for f in notable(found, ARTIFACTS)] == [("a.bin", DIFFERENT)]


def test_without_ledgers_there_was_nothing_to_compare(tmp_path: Path) -> None:
    (found,) = notable(compared(tmp_path, Training(), Training()), LEDGER)
    assert (found.status, found.count) == (UNKNOWN, 0)
