"""What a record's files say is what was written, whatever it is."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_record

from runback.errors import RecordError
from runback.record import check, fields, files, manifest, metrics, state
from runback.record.fields import Edit
from runback.record.metrics import LARGEST, Point
from runback.record.state import State

ints = st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]))
doubles = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, text, doubles, ints, ints, st.just(False)) | st.builds(
    Point, text, st.just(0.0), ints, ints, st.just(True)
)


def bits(point: Point) -> tuple[object, ...]:
    return (*point[:1], struct.pack("d", point.value), *point[2:])


@given(st.lists(points, max_size=20), st.lists(points, max_size=20))
def test_metric_points_come_back_to_the_bit(first: list[Point], then: list[Point]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / files.METRICS
        metrics.append(path, first)
        metrics.append(path, then)
        found = [p for block in metrics.read(path) for p in block] if path.exists() else []
    # The largest double is how MLflow stores an infinity, and stays it.
    assert [bits(p) for p in found] == [bits(p) for p in first + then]


def test_infinities_and_nan_are_readable_json(tmp_path: Path) -> None:
    path = tmp_path / files.METRICS
    values = [(LARGEST, False), (-LARGEST, False), (0.0, True)]
    metrics.append(path, [Point("a", value, 1, 1, is_nan) for value, is_nan in values])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line[1] for line in lines] == ["Infinity", "-Infinity", "NaN"]


def test_what_a_killed_writer_left_of_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / files.METRICS
    point = Point("a", 1.0, 1, 1, False)
    metrics.append(path, [point])
    with path.open("ab") as file:
        file.write(b'["a", 2.0, 2')
    metrics.append(path, [point._replace(step=2)])
    assert [p.step for block in metrics.read(path) for p in block] == [1, 2]


@given(st.integers(0, 400))
def test_every_prefix_of_metrics_is_valid(length: int) -> None:
    many = [Point(f"metric {n}", n / 3, n, n, False) for n in range(10)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / files.METRICS
        metrics.append(path, many)
        content = path.read_bytes()[:length]
        path.write_bytes(content)
        found = [p for block in metrics.read(path) for p in block]
    assert found == many[: content.count(b"\n")]


@pytest.mark.parametrize(
    "line",
    [
        *('["a", NaN, 1, 1]', '["a", 1e999, 1, 1]', '["a", 1, 1.5, 1]', '["a", true, 1, 1]'),
        *("[1, 1, 1, 1]", '["a", 1, 1]', '["a", "x", 1, 1]', f'["a", 1, {2**63}, 1]'),
        *("", "{}", "[[", "1"),
    ],
)
def test_line_that_is_no_point_is_named_after_those_before_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / files.METRICS
    path.write_text(f'["a", 1.0, 1, 1]\n{line}\n["a", 2.0, 2, 2]\n')
    blocks = metrics.read(path)
    assert next(blocks) == [Point("a", 1.0, 1, 1, False)]
    with pytest.raises(RecordError, match="no metric point"):
        next(blocks)


plain = st.none() | st.booleans() | ints | text | doubles | st.just(math.inf)


@given(st.dictionaries(text, st.lists(st.dictionaries(text, plain), max_size=3), max_size=4))
def test_rows_come_back(rows: dict[str, list[dict[str, object]]]) -> None:
    run = "0" * 32
    rows |= {"runs": [{"run_uuid": run}], "experiments": [{"name": "x"}]}
    with tempfile.TemporaryDirectory() as folder:
        state.write(Path(folder), State(run, rows, {"name": 3}))
        found = state.read(Path(folder), run)
    words = {math.inf: "Infinity"}
    assert found.rows == {
        table: [
            {c: words.get(v, v) if isinstance(v, float) else v for c, v in row.items()}
            for row in kept
        ]
        for table, kept in rows.items()
        if kept
    }
    assert found.since == {"name": 3}


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"format": 1, "n": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"format": 1, "n": math.nan})
    assert files.read_json(path)["n"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_names_of_files_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"format": 1, "caf\udce9": 1})
    assert "caf\udce9" in files.read_json(path)


# Edits.

names = st.sampled_from(["name", "tag:a", "tag:b", "lifecycle_stage"])
stores = st.sampled_from(["laptop", "server", "desk"])
edits = st.builds(Edit, st.integers(0, 50), st.just(""), st.none() | st.sampled_from(["x", "y"]))


@given(st.dictionaries(stores, st.dictionaries(names, edits)), st.randoms())
def test_merging_does_not_depend_on_the_order(
    found: dict[str, dict[str, Edit]], shuffle: object
) -> None:
    named = {
        store: {field: Edit(e.time_ms, store, e.value) for field, e in changes.items()}
        for store, changes in found.items()
    }
    own: dict[str, fields.Value] = {"name": "first", "tag:a": "1"}
    one = fields.merged(own, {}, named.values())
    other = fields.merged(own, {}, reversed(named.values()))
    assert one == other
    assert fields.merged(own, {}, [*named.values(), *named.values()]) == one


def test_edit_made_after_seeing_another_wins_whatever_the_clocks_say() -> None:
    an_hour_ahead = {"name": Edit(7_200_000, "server", "from the server")}
    own: dict[str, fields.Value] = {"name": "first"}
    seen = fields.merged(own, {}, [an_hour_ahead])
    before = fields.values(seen)
    mine = fields.changes(before, {**before, "name": "mine"}, seen, 3_600_000, "laptop")
    assert fields.values(fields.merged(own, {}, [mine, an_hour_ahead]))["name"] == "mine"


def test_fields_merge_one_by_one() -> None:
    own: dict[str, fields.Value] = {"name": "first", "tag:a": "1", "tag:b": "1"}
    server = {"tag:a": Edit(5, "server", "2")}
    laptop = {"tag:b": Edit(4, "laptop", None), "name": Edit(3, "laptop", "mine")}
    found = fields.values(fields.merged(own, {"name": 9}, [server, laptop]))
    assert found == {"name": "first", "tag:a": "2"}, "the training named it anew, later"


def test_edits_come_back(tmp_path: Path) -> None:
    mine = {"name": Edit(3, "desk", "x"), "tag:note ☃": Edit(4, "desk", None)}
    fields.write(tmp_path, "desk", mine)
    assert fields.read_all(tmp_path) == ({"desk": mine}, [])


# Is it whole?


def problems(record: Path) -> list[str]:
    return list(check.problems(record, record.parent.parent.name, {}))


def finished(record: Path) -> Path:
    run_id = record.parent.parent.name
    (record.parent / "plot.png").write_bytes(b"plot")
    known = manifest.read(record, run_id)
    manifest.finish(record, known, manifest.digests(record.parent), {})
    return record


def test_whole_record_has_no_problems(tmp_path: Path) -> None:
    assert problems(finished(make_record(tmp_path))) == []


def test_changed_missing_and_new_files_are_named(tmp_path: Path) -> None:
    record = finished(make_record(tmp_path))
    (record.parent / "plot.png").write_bytes(b"PLOT")
    (record.parent / "new.txt").write_text("new")
    (record / files.METRICS).unlink()
    assert problems(record) == [
        "metrics.jsonl: is missing",
        "plot.png: differs from its digest",
        "new.txt: is not in the manifest",
    ]


def test_manifest_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    record = finished(make_record(tmp_path))
    known = manifest.read(record, record.parent.parent.name)
    secret = tmp_path / "secret"
    secret.write_text("x")
    known["artifacts"] = {"../../../secret": files.digest(secret), "/etc/passwd": {}}
    files.write_json(record / files.MANIFEST, known)
    found = problems(record)
    assert "'../../../secret': leads out of its folder" in found
    assert "'/etc/passwd': leads out of its folder" in found


def test_archive_that_holds_more_than_it_says_is_refused(tmp_path: Path) -> None:
    import io
    import tarfile

    record = make_record(tmp_path)
    with tarfile.open(record / files.CODE, "w:gz") as tar:
        bomb = tarfile.TarInfo("zeros")
        bomb.size = 50_000_000
        tar.addfile(bomb, io.BytesIO(bytes(bomb.size)))
    run_id = record.parent.parent.name
    known = manifest.read(record, run_id)
    known["code"] = {"files": {"train.py": "sha256:00"}, "size_bytes": 10}
    manifest.finish(record, known, {}, {})
    assert "code.tar.gz: holds more than its manifest says" in problems(record)


@pytest.mark.parametrize(
    "part",
    [
        {"missing": 3},
        {"missing": [3]},
        {"files": []},
        {"files": {"run.json": 3}},
        {"files": {"a\0b": {"digest": "x", "size_bytes": 1}}},
        {"artifacts": {"x": 3}},
        {"models": {"m-1": 3}},
        {"models": {"m-1": {"x": 3}}},
        {"code": 3},
        {"code": {"files": 3}},
        {"code": {"files": {"a": 3}, "size_bytes": "x"}},
        {"store": "../../x"},
    ],
)
def test_manifest_that_is_nonsense_is_a_problem_and_no_crash(
    tmp_path: Path, part: dict[str, object]
) -> None:
    record = finished(make_record(tmp_path))
    known = manifest.read(record, record.parent.parent.name)
    files.write_json(record / files.MANIFEST, {**known, **part})
    assert problems(record)
    check.problems(record, record.parent.parent.name, {"m-1": tmp_path})
