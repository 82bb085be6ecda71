"""What is otherwise than recorded: each kind planted alone, found alone, and nonsense is none."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runback.replay.drift import Drift
from runback.replay.drifts import drifts

ONE, TWO = ("sha256:" + letter * 64 for letter in "ab")
SHORT_ONE, SHORT_TWO = "sha256:aaaaaaaaaaaa…", "sha256:bbbbbbbbbbbb…"

MANIFEST: dict[str, Any] = {
    "environment": {
        "python": "3.11.4",
        "implementation": "CPython",
        "executable": "/a/bin/python",
        "os": {"platform": "linux-x86_64", "name": "Debian 12", "kernel": "6.1", "libc": "2.36"},
        "packages": {"numpy": f"2.0.1 {ONE}", "mine": "0.1 editable", "pip": "24.0"},
        "image": None,
        "in_container": False,
    },
    "machine": {
        "host": "server",
        "boot_id": "x",
        "architecture": "x86_64",
        "cpu": {"model": "Some CPU", "microcode": "0x1", "flags": ["avx", "avx2", "avx512f"]},
        "usable_cores": 4,
        "threads": {"OMP_NUM_THREADS": "1"},
        "gpus": [{"name": "H100", "uuid": "GPU-1", "memory_bytes": 1, "driver": "550.54"}],
    },
    "command": {
        "argv": ["python", "train.py"],
        "pid": 3,
        "environ": {
            "OMP_NUM_THREADS": "1",
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "MLFLOW_RUN_NAME": "a",
            "PYTHONPATH": "/a",
            "PYTHONHASHSEED": "0",
        },
    },
    "code": {"root": "/a", "files": {"train.py": ONE, "net.py": ONE}},
    "data": {
        "data": {"path": "data", "digest": ONE, "files": 3, "size_bytes": 9},
        "gone": {"path": "gone", "missing": "No such file or directory"},
    },
    "randomness": {"at_start": {"hash_randomization": False, "python_state": ONE}},
    "at_end": {
        "randomness": {
            "hash_randomization": False,
            "environ": {"OMP_NUM_THREADS": "1", "PL_GLOBAL_SEED": "1"},
            "python_state": ONE,
            "torch": {"initial_seed": 7, "threads": 1, "cudnn_benchmark": False},
            "keras": {"seed": 7, "floatx": "float32"},
        },
        "libraries": {"libcudart": ["libcudart.so.12.4"], "libgomp": ["libgomp.so.1"]},
        "numerics": {"numpy.matmul": "sha256:1234"},
        "threads": {"libopenblas.so": 4},
        "edited": {},
        "imported": {"local.py": {"digest": ONE, "size_bytes": 3}},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the manifest with another value; without it, if that is None."""
    found = copy.deepcopy(MANIFEST)
    *folders, name = path.split("/")
    place = found
    for folder in folders:
        place = place[folder]
    name = name.replace("|", "/")
    if value is None:
        del place[name]
    else:
        place[name] = value
    return found


def test_the_same_is_no_drift() -> None:
    assert drifts(MANIFEST, copy.deepcopy(MANIFEST)) == []
    assert drifts(MANIFEST, json.loads(json.dumps(MANIFEST)), is_before=True) == []


DATA = {"path": "data", "digest": TWO, "files": 4, "size_bytes": 9}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("environment/python", "3.11.5", Drift("python", "", "CPython 3.11.4", "CPython 3.11.5")),
        ("environment/image", ONE, Drift("image", "", None, SHORT_ONE)),
        ("environment/os/libc", "2.37", Drift("system", "libc", "2.36", "2.37")),
        ("environment/os/name", "Debian 13", Drift("system", "name", "Debian 12", "Debian 13")),
        (
            "environment/packages/numpy",
            f"2.0.2 {TWO}",
            Drift("package", "numpy", "2.0.1", "2.0.2"),
        ),
        (
            "environment/packages/numpy",
            f"2.0.1 {TWO}",
            Drift("package", "numpy", f"2.0.1 {SHORT_ONE}", f"2.0.1 {SHORT_TWO}"),
        ),
        (
            "environment/packages/numpy",
            None,
            Drift("package", "numpy", f"2.0.1 {SHORT_ONE}", None),
        ),
        (
            "at_end/edited/numpy|core.py",
            TWO,
            Drift("package", "numpy/core.py", "as installed", f"edited in place: {SHORT_TWO}"),
        ),
        (
            "at_end/libraries/libcudart",
            ["libcudart.so.12.6"],
            Drift("library", "libcudart", "libcudart.so.12.4", "libcudart.so.12.6"),
        ),
        (
            "command/environ/TF_ENABLE_ONEDNN_OPTS",
            "1",
            Drift("variable", "TF_ENABLE_ONEDNN_OPTS", "0", "1"),
        ),
        (
            "command/environ/PYTHONHASHSEED",
            None,
            Drift("variable", "PYTHONHASHSEED", "0", "not set"),
        ),
        (
            "command/environ/OMP_NUM_THREADS",
            "2",
            Drift("threads", "OMP_NUM_THREADS", "1", "2"),
        ),
        ("at_end/threads/libopenblas.so", 8, Drift("threads", "libopenblas.so", "4", "8")),
        ("at_end/randomness/torch/threads", 2, Drift("threads", "torch.threads", "1", "2")),
        ("at_end/randomness/torch/initial_seed", 8, Drift("seed", "torch.initial_seed", "7", "8")),
        (
            "at_end/randomness/torch/cudnn_benchmark",
            True,
            Drift("seed", "torch.cudnn_benchmark", "False", "True"),
        ),
        (
            "at_end/randomness/keras/floatx",
            "float16",
            Drift("seed", "keras.floatx", "float32", "float16"),
        ),
        ("machine/usable_cores", 2, Drift("cores", "usable cores", "4", "2")),
        ("machine/cpu_limit", 1.5, Drift("cores", "limit", "none", "1.5")),
        ("machine/cpu/model", "Other", Drift("cpu", "model", "Some CPU", "Other")),
        ("machine/cpu/flags", ["avx", "sse4_2"], Drift("cpu", "flags", "avx2 avx512f", "sse4_2")),
        ("machine/gpus", [], Drift("gpu", "", "H100", "none")),
        (
            "at_end/numerics/numpy.matmul",
            "x",
            Drift("numerics", "numpy.matmul", "sha256:1234", "x"),
        ),
        (
            "data/data",
            DATA,
            Drift(
                *("data", "data"),
                f"{SHORT_ONE} (3 files, 9 bytes)",
                f"{SHORT_TWO} (4 files, 9 bytes)",
            ),
        ),
        (
            "data/data",
            {"missing": "gone"},
            Drift("data", "data", f"{SHORT_ONE} (3 files, 9 bytes)", "missing: gone"),
        ),
        ("code/files/train.py", TWO, Drift("code", "train.py", SHORT_ONE, SHORT_TWO)),
        ("code/files/net.py", None, Drift("code", "net.py", SHORT_ONE, None)),
        (
            "at_end/imported/local.py",
            {"digest": TWO},
            Drift("code", "local.py", SHORT_ONE, SHORT_TWO),
        ),
        ("at_end/imported/local.py", None, Drift("code", "local.py", SHORT_ONE, None)),
    ],
)
def test_one_drift_is_found_alone(path: str, value: Any, expected: Drift) -> None:
    assert drifts(MANIFEST, changed(path, value)) == [expected]


def test_another_driver_of_the_same_gpu() -> None:
    now = copy.deepcopy(MANIFEST)
    now["machine"]["gpus"][0] |= {"driver": "560.1", "uuid": "GPU-2"}
    assert drifts(MANIFEST, now) == [Drift("driver", "", "550.54", "560.1")]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("machine/host", "laptop"),
        ("machine/boot_id", "y"),
        ("machine/cpu/microcode", "0x2"),
        ("environment/executable", "/b/bin/python"),
        ("environment/os/kernel", "6.9"),
        ("environment/packages/pip", "25.0"),
        ("command/pid", 4),
        ("command/environ/MLFLOW_RUN_NAME", "b"),
        ("command/environ/RUNBACK_REPLAY", "1"),
        ("command/environ/PYTHONPATH", "/b"),
        ("command/environ/DVC_EXP_NAME", "first"),
        ("command/environ/DVC_STAGE", "train"),
        ("code/root", "/b"),
        ("at_end/randomness/python_state", TWO),
        ("randomness/at_start/python_state", TWO),
    ],
)
def test_places_names_and_states_are_no_drift(path: str, value: Any) -> None:
    assert drifts(MANIFEST, changed(path, value)) == []


def test_what_a_replay_restores_is_marked_before_it() -> None:
    paths: dict[str, Any] = {
        "code/files/train.py": TWO,
        "command/environ/OMP_NUM_THREADS": "2",
        "command/environ/PYTHONHASHSEED": None,
        "machine/usable_cores": 8,
    }
    for path, value in paths.items():
        (found,) = drifts(MANIFEST, changed(path, value), is_before=True)
        assert found.restored, path
        (found,) = drifts(MANIFEST, changed(path, value))
        assert not found.restored, path
    others: dict[str, Any] = {
        "machine/usable_cores": 2,
        "environment/python": "3.12.0",
        "data/data": DATA,
        "at_end/imported/local.py": None,
        "at_end/randomness/torch/threads": 2,
    }
    for path, value in others.items():
        (found,) = drifts(MANIFEST, changed(path, value), is_before=True)
        assert not found.restored, path


def test_hash_seed_that_is_drawn_each_time() -> None:
    drawn = changed("command/environ/PYTHONHASHSEED", None)
    drawn["randomness"]["at_start"]["hash_randomization"] = True
    (found,) = drifts(drawn, drawn)
    assert (found.kind, found.name) == ("seed", "hash seed")
    assert drifts(drawn, drawn, is_before=True) == []
    fixed = changed("command/environ/PYTHONHASHSEED", "7")
    fixed["randomness"]["at_start"]["hash_randomization"] = True
    assert drifts(fixed, fixed) == []


def test_seeds_of_the_start_count_where_there_is_no_end() -> None:
    one, two = copy.deepcopy(MANIFEST), copy.deepcopy(MANIFEST)
    one["randomness"]["at_start"]["torch"] = {"initial_seed": 7}
    two["randomness"]["at_start"]["torch"] = {"initial_seed": 9}
    assert drifts(one, two) == []
    for manifest in (one, two):
        del manifest["at_end"]
    assert drifts(one, two) == [Drift("seed", "torch.initial_seed", "7", "9")]


def test_parts_that_are_not_known_are_no_drift() -> None:
    now = {name: MANIFEST[name] for name in ("environment", "machine")}
    assert drifts(MANIFEST, now, is_before=True) == []
    assert drifts({}, MANIFEST) == []
    without = copy.deepcopy(MANIFEST)
    del without["machine"]["gpus"], without["machine"]["cpu"]
    assert drifts(MANIFEST, without) == []


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PATHS = st.sampled_from(
    [
        *("environment", "environment/os", "environment/packages", "environment/packages/numpy"),
        *("machine", "machine/cpu", "machine/gpus", "machine/cpu/flags", "command/environ"),
        *("code/files", "data", "data/data", "at_end", "at_end/edited", "at_end/libraries"),
        *("at_end/randomness", "at_end/randomness/environ", "at_end/imported", "at_end/threads"),
        *("randomness", "randomness/at_start", "at_end/numerics", "command"),
    ]
)


@given(PATHS, NONSENSE)
def test_nonsense_never_raises(path: str, value: Any) -> None:
    for found in (
        drifts(changed(path, value), MANIFEST),
        drifts(MANIFEST, changed(path, value), is_before=True),
    ):
        assert all(isinstance(drift, Drift) for drift in found)


def test_deep_nonsense_never_raises() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"a": deep}
    assert drifts(MANIFEST, changed("at_end/randomness", deep)) == []
