"""Look into files that differ: real ones, and nothing that was planted reads as the same."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import plain_environ

from runback.evidence.case import Case
from runback.evidence.finding import (
    ARTIFACTS,
    DIFFERENT,
    EXTRA,
    MISSING,
    SAME,
    UNKNOWN,
    WITHIN,
    Finding,
)
from runback.evidence.inside import look
from runback.evidence.own import Own

OWNS = (
    Own({"a" * 32: "(run)", "/old": "(project)"}),
    Own({"b" * 32: "(run)", "/new": "(project)"}),
)


def looked(name: str, *both: bytes, tolerance: float | None = None) -> list[Finding]:
    one, other = map(io.BytesIO, both)
    base = name.rsplit("/", 1)[-1]
    return [*look(Case(ARTIFACTS, name, one, other, base, tolerance, OWNS))]


def statuses(found: list[Finding]) -> dict[str, str]:
    """Return by name the status of what is not the same."""
    return {f.name: f.status for f in found if f.status != SAME}


def only(found: list[Finding]) -> Finding:
    (one,) = found
    return one


# Tensors


def weights(changed: float | None = None) -> dict[str, Any]:
    found = {"w": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(3)}
    if changed is not None:
        found["w"][1, 2] = changed
    return found


def npz(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def h5(arrays: dict[str, Any], **attributes: Any) -> bytes:
    h5py: Any = pytest.importorskip("h5py")

    file = io.BytesIO()
    with h5py.File(file, "w") as whole:
        for name, array in arrays.items():
            whole[f"layers/{name}"] = array
        whole.attrs.update(attributes)
    return file.getvalue()


def torch_saved(arrays: dict[str, Any], **more: Any) -> bytes:
    import torch

    file = io.BytesIO()
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    torch.save({"model": state, "epoch": 3, **more}, file)
    return file.getvalue()


def safetensors(arrays: dict[str, Any], **metadata: str) -> bytes:
    names, header, data = {"<f4": "F32", "<f8": "F64"}, dict[str, Any](), b""
    for name, array in arrays.items():
        content = array.tobytes()
        header[name] = {
            "dtype": names[array.dtype.str],
            "shape": array.shape,
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps({**header, "__metadata__": metadata}).encode()
    return len(text).to_bytes(8, "little") + text + data


SAVERS: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "m.npz": (npz, "w"),
    "m.h5": (h5, "layers/w"),
    "m.weights.h5": (h5, "layers/w"),
    "m.pt": (torch_saved, "model.w"),
    "m.ckpt": (torch_saved, "model.w"),
    "pytorch_model.bin": (torch_saved, "model.w"),
    "m.safetensors": (safetensors, "w"),
}


@pytest.mark.parametrize("name", SAVERS)
def test_a_tensor_of_which_one_element_differs(name: str) -> None:
    save, tensor = SAVERS[name]
    later = float(np.nextafter(np.float32(5), np.float32(6)))
    (parted, same) = looked(name, save(weights()), save(weights(later)))[:2]
    assert parted.name == f"{name}: {tensor}"
    assert (parted.status, parted.count, parted.differing, parted.ulps) == (DIFFERENT, 6, 1, 1)
    assert parted.largest == pytest.approx(later - 5)
    assert (same.status, same.detail) == (SAME, "1 tensors of it")
    within = looked(name, save(weights()), save(weights(later)), tolerance=1e-5)[0]
    assert (within.name, within.status) == (parted.name, WITHIN)
    far = looked(name, save(weights()), save(weights(9)), tolerance=1e-5)[0]
    assert far.status == DIFFERENT


@pytest.mark.parametrize("name", SAVERS)
def test_tensors_that_are_missing_more_or_of_another_shape(name: str) -> None:
    save, tensor = SAVERS[name]
    fewer = {"b": weights()["b"]}
    whole, part = save(weights()), save(fewer)
    assert statuses(looked(name, whole, part)) == {f"{name}: {tensor}": MISSING}
    assert statuses(looked(name, part, whole)) == {f"{name}: {tensor}": EXTRA}
    wide = save({**weights(), "w": weights()["w"].astype("f8")})
    assert statuses(looked(name, whole, wide)) == {f"{name}: {tensor}": DIFFERENT}
    flat = save({**weights(), "w": weights()["w"].reshape(3, 2)})
    assert statuses(looked(name, whole, flat)) == {f"{name}: {tensor}": DIFFERENT}


@pytest.mark.parametrize("name", SAVERS)
def test_a_file_that_is_cut_off_is_not_compared(name: str) -> None:
    save, _ = SAVERS[name]
    whole = save(weights())
    found = looked(name, whole, whole[:-40])
    assert UNKNOWN in {f.status for f in found} or DIFFERENT in {f.status for f in found}
    assert not any(f.status == SAME and f.count == 9 for f in found)


def test_many_tensors_that_differ_are_counted() -> None:
    one = {f"w{n:02}": np.zeros(2) for n in range(30)}
    other = {name: array + 1 for name, array in one.items()} | {"w00": one["w00"]}
    found = looked("m.npz", npz(one), npz(other))
    assert len(found) == 22
    assert (found[20].name, found[20].detail) == ("m.npz", "9 more tensors")
    assert (found[20].status, found[20].count, found[20].differing) == (DIFFERENT, 18, 18)
    assert (found[21].status, found[21].detail) == (SAME, "1 tensors of it")


@pytest.mark.parametrize(
    ("dtype", "one", "other", "ulps"),
    [
        ("f8", 0.0, -0.0, 1),
        ("f4", 1.0, -1.0, 2 * 0x3F800000 + 1),
        ("f2", 1.0, float("nan"), None),
        ("i8", -(2**63), 2**63 - 1, 2**64 - 1),
        ("u1", 3, 250, 247),
        ("?", True, False, None),
        ("c8", 1 + 1j, 1 - 1j, 2 * 0x3F800000 + 1),
        (">f4", 0.0, -0.0, 1),
    ],
)
def test_types(dtype: str, one: Any, other: Any, ulps: int | None) -> None:
    both = [npz({"x": np.array([value, 1], dtype)}) for value in (one, other)]
    found = only(looked("x.npz", *both)[:1])
    assert (found.status, found.ulps, found.differing) == (DIFFERENT, ulps, 1)


def test_nan_is_nan_in_a_tensor() -> None:
    nan = np.array([np.nan, 1]), np.array([-np.nan, 1])
    assert statuses(looked("x.npz", npz({"x": nan[0]}), npz({"x": nan[1]}))) == {}


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float16", "int8"])
def test_types_that_numpy_has_not(name: str) -> None:
    import torch

    dtype, both = getattr(torch, name), []
    for value in (1.0, 2.0):
        file = io.BytesIO()
        torch.save({"x": torch.tensor([value, 1.0]).to(dtype)}, file)
        both.append(file.getvalue())
    found = looked("x.pt", *both)[0]
    assert (found.status, found.differing, found.largest) == (DIFFERENT, 1, 1.0)
    assert found.ulps == {"bfloat16": 128, "float8_e4m3fn": 8, "float16": 1024, "int8": 1}[name]


def test_names_that_collide_are_not_compared() -> None:
    import torch

    def saved(content: Any) -> bytes:
        file = io.BytesIO()
        torch.save(content, file)
        return file.getvalue()

    zeros, ones = torch.zeros(2), torch.ones(2)
    collide: list[tuple[Any, Any]] = [
        ({"a.b": ones, "a": {"b": zeros}}, {"a.b": zeros, "a": {"b": zeros}}),
        ({"w": ones, 1: 5, "1": 6}, {"w": ones, 1: 9, "1": 6}),
    ]
    for one, other in collide:
        assert UNKNOWN in statuses(looked("m.pt", saved(one), saved(other))).values()
    alike: list[tuple[Any, Any]] = [({1: ones}, {"1": ones}), ([ones], {"0": ones})]
    for one, other in alike:
        assert statuses(looked("m.pt", saved(one), saved(other))) == {"m.pt": DIFFERENT}


def test_bytes_behind_an_array_are_not_passed_over(tmp_path: Path) -> None:
    one, other = _npy(1) + _npy(2), _npy(1) + _npy(3)
    for name, both in (
        ("m.npy", (one, other)),
        ("m.npz", (zipped({"w.npy": one}), zipped({"w.npy": other}))),
        ("m.npz", tuple(zipped({"w.npy": _npy(1), "w": _npy(n)}) for n in (1, 2))),
        ("m.safetensors", tuple(safetensors(weights()) + more for more in (b"1", b"2"))),
    ):
        found = only(looked(name, *both))
        assert (found.status, found.name) == (UNKNOWN, name)
    paths = [tmp_path / "one.npy", tmp_path / "other.npy"]
    for path, content in zip(paths, (one, other), strict=True):
        path.write_bytes(content)
    with paths[0].open("rb") as a, paths[1].open("rb") as b:
        assert [f.status for f in look(Case(ARTIFACTS, "m.npy", a, b, "m.npy"))] == [UNKNOWN]


def test_what_stands_beside_the_tensors_of_torch_counts() -> None:
    one = torch_saved(weights(), path="/old/best.ckpt", lr=0.1)
    assert (
        statuses(looked("m.pt", one, torch_saved(weights(), path="/new/best.ckpt", lr=0.1))) == {}
    )
    found = looked("m.pt", one, torch_saved(weights(), path="/old/best.ckpt", lr=0.2))
    (parted,) = [f for f in found if f.status != SAME]
    assert (parted.status, parted.recorded, parted.replayed) == (DIFFERENT, 0.1, 0.2)
    assert parted.detail == "first lr"
    renamed = looked("m.pt", one, torch_saved(weights(), path="/new/last.ckpt", lr=0.1))
    assert [f.status for f in renamed if f.status != SAME] == [DIFFERENT]


class Evil:
    """Says so when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    import torch

    both = []
    for size in (2, 3):
        file = io.BytesIO()
        torch.save({"x": torch.ones(2), "evil": Evil(tmp_path / "mark"), "n": "n" * size}, file)
        both.append(file.getvalue())
    found = looked("m.pt", *both)
    assert [f.status for f in found if f.status != SAME] == [UNKNOWN]
    assert "torch does not load it: Unsupported" in found[0].detail
    for name in ("m.npy", "m.npz"):
        array = np.array([Evil(tmp_path / "mark")], object)
        files = []
        for extra in (b"", b"\0"):
            file = io.BytesIO()
            (np.save if name == "m.npy" else np.savez)(file, array)
            files.append(file.getvalue() + extra)
        assert [f.status for f in looked(name, *files)] == [UNKNOWN]
    pickled = [pickle.dumps(Evil(tmp_path / mark)) for mark in ("mark", "more")]
    assert [f.status for f in looked("m.pkl", *pickled)] == [DIFFERENT]
    assert [*tmp_path.iterdir()] == []


def test_a_model_that_torch_refuses_is_compared_by_its_storages() -> None:
    import torch

    both = []
    for value in (1.0, 1.0, 2.0):
        file = io.BytesIO()
        module = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(module.weight, value)
        torch.nn.init.constant_(module.bias, 0.0)
        torch.save(module, file)
        both.append(file.getvalue())
    repacked = _repacked(both[1])
    assert statuses(looked("m.pth", both[0], repacked)) == {}
    found = looked("m.pth", both[0], both[2])
    assert [f.status for f in found if f.status != SAME] == [DIFFERENT]
    assert any("data/0" in f.name for f in found)


def _repacked(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return file.getvalue()


def test_an_attribute_of_an_h5_file_counts() -> None:
    one, other = (h5(weights(), model_config=json.dumps({"units": n})) for n in (3, 4))
    (parted,) = [f for f in looked("m.h5", one, other) if f.status != SAME]
    assert parted.detail == "first @model_config.units"


def test_an_h5_file_that_points_at_others_is_not_compared(tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")

    both = []
    for n in (1, 2):
        file = io.BytesIO()
        with h5py.File(file, "w") as whole:
            whole.attrs["n"] = n
            outside = [(str(tmp_path / "secret"), 0, 16)]
            whole.create_dataset("x", (2,), "f8", external=outside)
        both.append(file.getvalue())
    found = looked("m.h5", *both)
    assert [f.status for f in found] == [UNKNOWN]
    assert "another file" in found[0].detail


def test_sizes_that_are_only_claimed_are_refused() -> None:
    h5py: Any = pytest.importorskip("h5py")

    both = []
    for n in (1, 2):
        file = io.BytesIO()
        with h5py.File(file, "w") as whole:
            whole.attrs["n"] = n
            whole.create_dataset("x", (10**13,), "f8", chunks=(1024,))
        both.append(file.getvalue())
    assert [f.status for f in looked("m.h5", *both)] == [UNKNOWN]
    one, other = (safetensors(weights(), n=str(n)).replace(b"[2, 3]", b"[2, 9]") for n in (1, 2))
    assert UNKNOWN in [f.status for f in looked("m.safetensors", one, other)]
    assert [f.status for f in looked("m.safetensors", b"\xff" * 9, b"\xff" * 10)] == [UNKNOWN]


@pytest.mark.parametrize(
    ("name", "module"),
    [("m.h5", "h5py"), ("m.pt", "torch"), ("m.npy", "numpy"), ("a.png", "PIL.Image")],
)
def test_what_is_not_installed_is_not_compared(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def missing(wanted: str) -> Any:
        if wanted == module:
            raise ImportError(wanted)
        return real(wanted)

    monkeypatch.setattr(importlib, "import_module", missing)
    found = only(looked(name, b"1", b"2"))
    assert found.status == UNKNOWN
    assert "needs" in found.detail


# Keras


@pytest.fixture(scope="module")
def kerases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return .keras files: one model saved twice, with one weight changed, with another layer."""
    folder = tmp_path_factory.mktemp("keras")
    code = """
import sys, time, keras, numpy as np
def made(units=3, name="dense"):
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,)), keras.layers.Dense(units, name=name)]
    model = keras.Sequential(layers, name="net")
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, units)), verbose=0)
    return model
model = made()
model.save("one.keras")
kernel = model.layers[0].kernel
before = kernel.numpy().copy()
after = before.copy()
after[0, 0] = np.nextafter(before[0, 0], np.float32(9))
kernel.assign(after)
model.save("weight.keras")
# An .h5 file comes last: saving one changes the config that later files have.
model.save("weight.h5")
kernel.assign(before)
model.save("one.h5")
time.sleep(1.1)
made().save("again.keras")
made(name="other").save("config.keras")
"""
    environ = plain_environ(KERAS_BACKEND="torch")
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environ, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_keras_file_saved_again_is_the_same_but_for_its_date(kerases: dict[str, bytes]) -> None:
    assert kerases["one.keras"] != kerases["again.keras"]
    found = only(looked("m.keras", kerases["one.keras"], kerases["again.keras"]))
    assert found.status == SAME
    assert "date_saved" in found.detail


def test_a_weight_of_a_keras_file(kerases: dict[str, bytes]) -> None:
    found = looked("m.keras", kerases["one.keras"], kerases["weight.keras"])
    (parted,) = [f for f in found if f.status != SAME]
    assert parted.name == "m.keras: layers/dense/vars/0"
    assert (parted.status, parted.count, parted.differing, parted.ulps) == (DIFFERENT, 12, 1, 1)
    found = looked("m.h5", kerases["one.h5"], kerases["weight.h5"])
    (parted,) = [f for f in found if f.status != SAME]
    assert parted.name.endswith("dense/kernel")


def test_the_config_of_a_keras_file(kerases: dict[str, bytes]) -> None:
    found = statuses(looked("m.keras", kerases["one.keras"], kerases["config.keras"]))
    assert found["m.keras: config.json"] == DIFFERENT


def test_a_member_that_is_missing_from_a_keras_file(kerases: dict[str, bytes]) -> None:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(kerases["one.keras"])) as old,
        zipfile.ZipFile(file, "w") as new,
    ):
        for name in ("metadata.json", "config.json"):
            new.writestr(name, old.read(name))
    found = statuses(looked("m.keras", kerases["one.keras"], file.getvalue()))
    assert found == {"m.keras: model.weights.h5": MISSING}


# Documents and texts


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("one", "other", "status"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, SAME),
        ({"a": 1}, {"a": 1.0}, DIFFERENT),
        ({"a": 0.0}, {"a": -0.0}, DIFFERENT),
        ({"a": [1, 2]}, {"a": [2, 1]}, DIFFERENT),
        ({"a": 1}, {"a": 1, "b": 1}, DIFFERENT),
        ({"a": []}, {"a": {}}, DIFFERENT),
        ({"a": None}, {"a": False}, DIFFERENT),
        ({"run": "a" * 32}, {"run": "b" * 32}, SAME),
        ({"run": "a" * 32}, {"run": "c" * 32}, DIFFERENT),
        ({"path": "/old/x"}, {"path": "/new/x"}, SAME),
        ({"/old/x": 1}, {"/new/x": 1}, SAME),
        ({"created_at": "2026-11-21 10:00"}, {"created_at": "2026-11-22 10:00"}, DIFFERENT),
        ({"created_at": "first"}, {"created_at": "second"}, DIFFERENT),
        ({"date_saved": "2026-11-21 10:00"}, {"date_saved": "2026-11-22 10:00"}, DIFFERENT),
        ({"updated": 3}, {"updated": 4}, DIFFERENT),
        ({"fit_time_s": 3}, {"fit_time_s": 4}, DIFFERENT),
        ({"pid": 3}, {"pid": 4}, DIFFERENT),
        ({"host": "cat"}, {"host": "dog"}, DIFFERENT),
        ({"uuid": "0" * 32}, {"uuid": "1" * 32}, DIFFERENT),
        ({"hard": "100000001.npy"}, {"hard": "100000002.npy"}, DIFFERENT),
        ({"a": [1]}, {"a": {"0": 1}}, DIFFERENT),
        ({"id": 1}, {"id": 2}, DIFFERENT),
        ({"id": "cat"}, {"id": "dog"}, DIFFERENT),
        ([{"shared_object_id": 10**15}], [{"shared_object_id": 2 * 10**15}], DIFFERENT),
        ([{"__id__": 10**15}], [{"__id__": 2 * 10**15}], DIFFERENT),
    ],
)
def test_json(one: Any, other: Any, status: str) -> None:
    assert only(looked("a.json", encoded(one), encoded(other) + b"\n")).status == status
    assert only(looked("a.yaml", encoded(one), encoded(other) + b"\n")).status == status


def test_addresses_are_numbered_in_what_keras_and_skops_write() -> None:
    one, other = [{"shared_object_id": 10**15}], [{"shared_object_id": 2 * 10**15}]
    for name, member, status in (
        ("m.keras", "config.json", SAME),
        ("m.keras", "more.json", DIFFERENT),
        ("m.zip", "config.json", DIFFERENT),
        ("m.skops", "config.json", DIFFERENT),
    ):
        both = (zipped({member: encoded(value)}) for value in (one, other))
        assert only(looked(name, *both)).status == status
    shared = [{"__id__": 10**15}, {"__id__": 10**15}]
    apart = [{"__id__": 10**15}, {"__id__": 2 * 10**15}]
    both = (zipped({"schema.json": encoded(value)}) for value in (shared, apart))
    assert only(looked("m.skops", *both)).status == DIFFERENT
    both = (zipped({"metadata.json": encoded({"date_saved": day})}) for day in "12")
    assert only(looked("m.zip", *both)).status == DIFFERENT
    configs = [h5(weights(), model_config=json.dumps({"x": value})) for value in (one, other)]
    assert statuses(looked("m.h5", *configs)) == {}
    configs = [h5(weights(), notes=json.dumps({"x": value})) for value in (one, other)]
    assert statuses(looked("m.h5", *configs)) == {"m.h5": DIFFERENT}


def test_a_users_values_are_results_whatever_they_are_called() -> None:
    one, other = torch_saved(weights(), duration=3), torch_saved(weights(), duration=4)
    assert statuses(looked("m.pt", one, other)) == {"m.pt": DIFFERENT}
    hosts = b"virus,predicted_host\na,human\n"
    found = only(looked("a.csv", hosts, hosts.replace(b"human", b"bat")))
    assert (found.status, found.detail) == (DIFFERENT, "first rows.0.predicted_host")
    nested = b"metadata: {utc_time_created: '%d'}\n"
    assert only(looked("MLmodel", nested % 1, nested % 2)).status == DIFFERENT


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.yaml", "a.txt"])
def test_a_key_that_is_there_twice_is_not_dropped(name: str) -> None:
    one, other = b'{"acc": 0.9, "acc": 0.5}', b'{"acc": 0.1, "acc": 0.5}'
    found = only(looked(name, one, other))
    assert (found.status, found.detail) == (DIFFERENT, "first in line 1")


def test_keys_that_are_one_path_are_not_dropped() -> None:
    one, other = ({"/old/x": n, "(project)/x": 3} for n in (1, 2))
    assert only(looked("a.json", encoded(one), encoded(other))).status == DIFFERENT
    merged = b"a: &a {x: 1}\nb:\n  <<: *a\n  y: %d\n"
    assert only(looked("a.yaml", merged % 1, merged % 1 + b"# note\n")).status == SAME
    assert only(looked("a.yaml", merged % 1, merged % 2)).status == DIFFERENT


def test_numbers_of_documents_within_a_tolerance() -> None:
    one, other = encoded({"a": [1.0, "x"]}), encoded({"a": [1.0 + 1e-9, "x"]})
    found = only(looked("a.json", one, other, tolerance=1e-6))
    assert (found.status, found.differing) == (WITHIN, 1)
    assert only(looked("a.json", one, other)).status == DIFFERENT
    assert (
        only(looked("a.csv", b"a,b\n1.0,x\n", b"a,b\n1.000000001,x\n", tolerance=1e-6)).status
        == WITHIN
    )
    assert (
        only(looked("a.csv", b"a,b\n1.0,x\n", b"a,b\n1.000000001,y\n", tolerance=1e-6)).status
        == DIFFERENT
    )


def test_csv() -> None:
    head = b"epoch,loss,time\n"
    found = only(looked("a.csv", head + b"0,0.5,10:00:01\n", head + b"0,0.5,10:00:02\n"))
    assert (found.status, found.detail) == (DIFFERENT, "first rows.0.time")
    found = only(looked("a.csv", head + b"0,0.5,1\n", head + b"0,0.25,1\n"))
    assert (found.status, found.detail) == (DIFFERENT, "first rows.0.loss")
    assert only(looked("a.csv", b"a,b\n1,2\n", b"b,a\n1,2\n")).status == DIFFERENT
    assert only(looked("a.csv", b"a,b\n1,2\n", b"a,b\n1,2\n1,2\n")).status == DIFFERENT


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.csv"])
def test_a_document_that_is_none_is_compared_as_text(name: str) -> None:
    found = only(looked(name, b'{"a: \xff\n1', b'{"a: \xff\n2'))
    assert (found.status, found.detail) == (DIFFERENT, "first in line 2")


def test_yaml_constructs_nothing() -> None:
    one, other = (b"a: !!python/name:os.%s ''\n" % name for name in (b"getcwd", b"getpid"))
    assert only(looked("hparams.yaml", one, other)).status == DIFFERENT
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 10)) for n in range(98, 110)
    )
    assert only(looked("a.yaml", bomb, bomb + b"z: 1\n")).status == DIFFERENT


def test_mlmodel() -> None:
    text = b"run_id: %s\nmodel_size_bytes: %d\nutc_time_created: '%s'\nflavors: {keras: %s}\n"
    one = text % (b"a" * 32, 10, b"2026-11-21 10:00:00.1", b"1")
    other = text % (b"b" * 32, 11, b"2026-11-21 11:00:00.1", b"1")
    found = only(looked("model/MLmodel", one, other))
    assert found.status == SAME
    assert "utc_time_created" in found.detail
    assert "model_size_bytes" in found.detail
    changed = other.replace(b"keras: 1", b"keras: 2")
    assert only(looked("model/MLmodel", one, changed)).status == DIFFERENT


def test_texts() -> None:
    assert only(looked("a.txt", b"in /old/x\n", b"in /new/x\n")).status == SAME
    assert only(looked("a.txt", b"in /older\n", b"in /newer\n")).status == DIFFERENT
    found = only(looked("a.txt", b"1\n2\n3", b"1\n9\n3\n4"))
    assert (found.status, found.differing, found.recorded, found.replayed) == (
        DIFFERENT,
        2,
        "2",
        "9",
    )
    assert found.detail == "first in line 2"
    assert only(looked("unknown", b"\0\1\2", b"\0\1\3")).detail == "by its bytes, from byte 2"
    assert only(looked("unknown", b"x /old\n", b"x /new\n")).status == SAME


# Pictures


def picture(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    from PIL import Image

    pixels = np.arange(48, dtype="u1").reshape(4, 4, 3)
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def test_pictures_by_pixels() -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("Software", "another")
    found = only(looked("a.png", picture("PNG"), picture("PNG", pnginfo=note)))
    assert (found.status, found.count) == (SAME, 48)
    assert "set aside" in found.detail
    file = io.BytesIO()
    pixels = np.arange(48, dtype="u1").reshape(4, 4, 3)
    pixels[0, 0, 0] = 7
    Image.fromarray(pixels).save(file, "PNG")
    found = only(looked("a.png", picture("PNG"), file.getvalue(), tolerance=100.0))
    assert (found.status, found.differing, found.largest) == (DIFFERENT, 1, 7.0)
    found = only(looked("a.png", picture("PNG"), picture("PNG")[:-30]))
    assert found.status == UNKNOWN
    # A picture of another kind under the name is still looked at by its pixels.
    assert only(looked("a.png", picture("PNG"), picture("BMP"))).status == SAME


def test_frames_durations_and_transparent_colours_are_seen() -> None:
    from PIL import Image

    def moving(duration: int, count: int = 3, last: int = 100) -> bytes:
        file, shades = io.BytesIO(), [*range(0, 50 * (count - 1), 50), last]
        frames = [Image.new("L", (4, 4), shade) for shade in shades]
        more = frames[1:]
        frames[0].save(file, "GIF", save_all=True, append_images=more, duration=duration)
        return file.getvalue()

    def clear(colour: tuple[int, int, int]) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (4, 4), (1, 2, 3)).save(file, "PNG", transparency=colour)
        return file.getvalue()

    def placed(place: float) -> bytes:
        file = io.BytesIO()
        Image.new("F", (4, 4), 1.5).save(file, "TIFF", tiffinfo={33550: (place, place, 0.0)})
        return file.getvalue()

    for name, one, other in (
        ("a.gif", moving(100), moving(900)),
        ("a.gif", moving(100), moving(100, last=150)),
        ("a.gif", moving(100), moving(100, count=4, last=150)),
        ("a.png", clear((1, 2, 3)), clear((9, 9, 9))),
        ("a.tif", placed(10.0), placed(30.0)),
    ):
        found = only(looked(name, one, other))
        assert found.status == DIFFERENT
        assert "pixels" in found.detail
    noted = moving(100).replace(b"GIF89a", b"GIF89a", 1) + b"\0"
    assert only(looked("a.gif", moving(100), noted)).status == SAME


def test_drawn_uuids_of_a_page_are_numbered() -> None:
    one, other = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    page = '<div id="{0}"></div><script>draw("{1}", {2})</script>'
    first = page.format(one, one, 1).encode()
    found = only(looked("a.html", first, page.format(other, other, 1).encode()))
    assert (found.status, found.detail) == (SAME, "set aside: drawn uuids")
    for parted in (page.format(other, one, 1), page.format(other, other, 2)):
        assert only(looked("a.html", first, parted.encode())).status == DIFFERENT
    assert only(looked("a.txt", one.encode(), other.encode())).status == DIFFERENT


def test_figures_of_matplotlib() -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    def saved(kind: str, values: list[int], salt: str) -> bytes:
        file, figure = io.BytesIO(), Figure()
        figure.subplots().plot(values)
        date = {"Date": salt} if kind == "svg" else {}
        with mpl.rc_context({"svg.hashsalt": salt}):
            figure.savefig(file, format=kind, metadata=date or None)
        content = file.getvalue()
        return content if kind == "svg" else _dated(content, salt)

    for kind in ("svg", "pdf"):
        one, again, other = (
            saved(kind, v, s) for v, s in (([1, 2], "1"), ([1, 2], "2"), ([1, 3], "1"))
        )
        assert one != again
        assert only(looked(f"a.{kind}", one, again)).status == SAME
        assert only(looked(f"a.{kind}", one, other)).status == DIFFERENT


def _dated(pdf: bytes, digit: str) -> bytes:
    at = pdf.index(b"/CreationDate (D:") + len(b"/CreationDate (D:")
    return pdf[:at] + digit.encode() + pdf[at + 1 :]


# Archives


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, year: int = 2000) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), content)
    return file.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:gz", time: int = 0) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), time
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


MEMBERS = {"a.txt": b"a", "b/c.json": b'{"x": 1}'}


def test_archives_member_by_member() -> None:
    back = dict(reversed(MEMBERS.items()))
    changed = {**MEMBERS, "b/c.json": b'{"x": 2}'}
    for name, one, again, other in (
        ("a.zip", zipped(MEMBERS), zipped(back, zipfile.ZIP_DEFLATED, 2020), zipped(changed)),
        ("a.tar.gz", tarred(MEMBERS), tarred(back, time=9), tarred(changed)),
        ("a.tar", tarred(MEMBERS, "w"), tarred(back, "w", 9), tarred(changed, "w")),
    ):
        assert only(looked(name, one, again)).status == SAME
        assert statuses(looked(name, one, other)) == {f"{name}: b/c.json": DIFFERENT}
        part = {"a.txt": b"a"}
        less = zipped(part) if name == "a.zip" else tarred(part)
        assert statuses(looked(name, one, less)) == {f"{name}: b/c.json": MISSING}


def test_gzip() -> None:
    one, again, other = (
        gzip.compress(b"1", mtime=1),
        gzip.compress(b"1", mtime=2),
        gzip.compress(b"2", mtime=1),
    )
    assert only(looked("a.txt.gz", one, again)).status == SAME
    assert statuses(looked("a.txt.gz", one, other)) == {"a.txt.gz: a.txt": DIFFERENT}
    assert only(looked("a.gz", one, b"none")).status == UNKNOWN


def test_archives_that_were_made_to_harm() -> None:
    twice = zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a")
    assert only(looked("a.zip", zipped({"a": b"2"}), twice)).status == UNKNOWN
    deep = b"1", b"2"
    for _ in range(8):
        deep = zipped({"a.zip": deep[0]}), zipped({"a.zip": deep[1]})
    assert [f.status for f in looked("a.zip", *deep)] == [UNKNOWN]
    damaged = zipped(MEMBERS).replace(b'{"x": 1}', b'{"x": 2}', 1)
    assert SAME not in [f.status for f in looked("a.zip", zipped(MEMBERS), damaged) if f.count > 8]


def test_skops_names_arrays_by_addresses() -> None:
    def model(ids: list[int], values: list[int], order: int = 1) -> bytes:
        nodes = [{"__id__": i, "file": f"{i}.npy"} for i in ids]
        arrays = {f"{i}.npy": _npy(v) for i, v in zip(ids, values, strict=True)}
        return zipped({**dict([*arrays.items()][::order]), "schema.json": encoded(nodes)})

    one = model([10**14, 10**14 + 1], [1, 2])
    assert only(looked("m.skops", one, model([10**15, 10**13], [1, 2], -1))).status == SAME
    found = statuses(looked("m.skops", one, model([10**15, 10**13], [2, 1])))
    assert found == {
        "m.skops: array 0.npy: array": DIFFERENT,
        "m.skops: array 1.npy: array": DIFFERENT,
    }


def _npy(value: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([value]))
    return file.getvalue()


def every_byte(content: bytes) -> Iterator[bytes]:
    step = max(1, len(content) // 60)
    for at in range(0, len(content), step):
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("name", ["m.npz", "m.safetensors", "m.h5", "m.pt"])
def test_a_flipped_bit_never_raises(name: str) -> None:
    save, _ = SAVERS[name]
    whole = save(weights())
    for damaged in every_byte(whole):
        assert looked(name, whole, damaged)
