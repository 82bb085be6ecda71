"""What surrounds a run: its command, packages, machine, data, randomness; and no secret."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from runback.capture import (
    command,
    data,
    fingerprint,
    loaded,
    machine,
    packages,
    randomness,
)
from runback.launch import kind

SECRET = "hunter2-s3cr3t"


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def python(code: str, *arguments: str, **options: Any) -> Any:
    """Run code in a fresh process that has PYTHONPATH, and return the JSON that it prints."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), **options.pop("environ", {})}
    program = [sys.executable, "-c", code, *arguments]
    return json.loads(subprocess.check_output(program, env=environ, text=True, **options))


def test_importing_everything_is_light() -> None:
    code = "import sys, json\nfrom runback.capture import command, data, fingerprint, machine, "
    code += "packages, randomness, snapshot\nprint(json.dumps(list(sys.modules)))"
    heavy = {"numpy", "torch", "tensorflow", "keras", "mlflow", "yaml", "asyncio", "click"}
    assert heavy & set(python(code)) == set()


def test_all_facts_are_plain_json(tmp_path: Path) -> None:
    facts = [command.describe(tmp_path), packages.describe(), machine.describe()]
    facts += [machine.loaded_libraries(), fingerprint.compute(), randomness.describe()]
    for fact in facts:
        assert json.loads(json.dumps(fact)) == fact


# command


@pytest.mark.parametrize(
    ("words", "expected", "hidden"),
    [
        (["--password", SECRET], ["--password", "***"], ["--password"]),
        (["--password=" + SECRET], ["--password=***"], ["--password"]),
        (["--db-passwd", "-" + SECRET], ["--db-passwd", "***"], ["--db-passwd"]),
        (["--API_KEY=" + SECRET], ["--API_KEY=***"], ["--API_KEY"]),
        (["-token", SECRET], ["-token", "***"], ["-token"]),
        (["--tokens", SECRET, SECRET, "--n", "1"], ["--tokens", "***", "***", "--n", "1"], None),
        (["db.password=" + SECRET], ["db.password=***"], ["db.password"]),
        (["--use-token", "--epochs", "3"], ["--use-token", "--epochs", "3"], []),
        (["--tokenizer", "gpt2", "--max-tokens=512"], None, []),
        (["--max_tokens", "512", "x.csv"], None, []),
        (["--uri", f"http://joe:{SECRET}@host:5000/x"], ["--uri", "http://host:5000/x"], None),
        ([f"--uri=http://{SECRET}@host"], ["--uri=http://host"], ["--uri"]),
        (
            [f'--config={{"secret": "{SECRET}", "n": 1}}'],
            ['--config={"secret": ***, "n": 1}'],
            None,
        ),
        (["-c", f"login(token='{SECRET}')"], ["-c", "login(token=***)"], None),
        (["--header", f"Authorization: Bearer {SECRET}"], None, None),
        (["train.py", "--epochs", "3", "--out=a=b"], None, []),
    ],
)
def test_secrets_of_a_command(
    words: list[str], expected: list[str] | None, hidden: list[str] | None
) -> None:
    kept, redacted = command.redact(words)
    if expected or hidden == []:
        assert kept == (expected or words)
    assert SECRET not in " ".join(kept)
    assert redacted == hidden if hidden is not None else redacted


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.sampled_from(["password", "PASSWD", "my-secret", "auth_token", "api-key", "credential"])


@given(st.lists(WORDS), NAMES, st.text("abcXYZ0189!@#$%^&*:/?.,=", min_size=1), st.booleans())
def test_no_secret_survives(before: list[str], name: str, value: str, joined: bool) -> None:
    secret = f"S3CR3T{value}"
    words = [f"--{name}={secret}"] if joined else [f"--{name}", secret]
    kept, redacted = command.redact([*before, *words])
    assert "S3CR3T" not in "\n".join(kept[len(before) :])
    assert kept[-1].endswith("***")
    assert f"--{name}" in redacted or before


@given(st.lists(WORDS))
def test_redaction_keeps_the_number_of_words_and_is_stable(words: list[str]) -> None:
    kept, _ = command.redact(words)
    assert len(kept) == len(words)
    assert command.redact(kept)[0] == kept


USER = st.text("abcXYZ09!$%^&*+.@:-_~", min_size=1)


@given(USER, st.sampled_from(["", "/p/q", ":8080/a@b", "?x=1"]))
def test_no_user_of_a_url_survives(user: str, rest: str) -> None:
    assert command.without_credentials(f"https://{user}@example.org{rest}") == (
        f"https://example.org{rest}"
    )


@pytest.mark.parametrize(
    "url",
    [
        *("git@github.com:a/b.git", "ssh://git@github.com/a/b", "/srv/git/a@b", "s3://bucket/a@b"),
        *("http://host:5000/a@b", "https://example.org/?page=2", "sqlite:///mlflow.db", ""),
    ],
)
def test_urls_without_secrets_stay(url: str) -> None:
    assert command.without_credentials(url) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:a/b@db/x", "postgresql://db/x"),
        ("ssh://git:pw@host/a", "ssh://host/a"),
        ("http://u:p@a,http://u:p@b", "http://a,http://b"),
        ("https://x/?page=2&access_token=abc&z=1", "https://x/?page=2&access_token=***&z=1"),
        ("https://x/y?X-Amz-Signature=abc", "https://x/y?X-Amz-Signature=***"),
    ],
)
def test_urls_with_secrets_lose_them(url: str, expected: str) -> None:
    assert command.without_credentials(url) == expected


@pytest.mark.parametrize("piece", ["a", "token", "http://", "a:", "?", "http://a:", "?token"])
def test_long_arguments_take_time_by_their_length(piece: str) -> None:
    # Eight times as long: 8 in proportion, 64 where each start looks at all that follows.
    # 8,000 characters are beyond every bound, so that the bounds are seen to hold.
    word = piece * (8_000 // len(piece))
    assert _least_s(word * 8) < 24 * _least_s(word)


def _least_s(word: str) -> float:
    """Return the thread's own time, in s, the least of three: what else runs is left out."""

    def once() -> float:
        began_s = time.thread_time()
        command.redact([word])
        return time.thread_time() - began_s

    return min(once() for _ in range(3))


def test_variables_by_an_allow_list() -> None:
    harmless = {
        "PYTHONHASHSEED": "0",
        "CUDA_VISIBLE_DEVICES": "1",
        "OMP_NUM_THREADS": "4",
        "RUNBACK_SOMETHING": "x",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "SLURM_PROCID": "3",
        "TOKENIZERS_PARALLELISM": "false",
    }
    dropped = {
        *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME", "PATH"),
        *("MLFLOW_OTHER", "AWS_SECRET_ACCESS_KEY", "TF_TOKEN_app_terraform_io", "TF_VAR_x"),
        *("RUNBACK_API_KEY", "KERAS_KEY", "TORCH_PASSWORD", "NCCL_AUTH", "HOME"),
    }
    environ = harmless | dict.fromkeys(dropped, SECRET)
    environ |= {"MLFLOW_TRACKING_URI": f"http://u:{SECRET}@h", "RUNBACK_ARGS": f"--token={SECRET}"}
    kept = dict(command.variables(environ))
    expected = {"MLFLOW_TRACKING_URI": "http://h", "RUNBACK_ARGS": "--token=***"}
    assert kept == harmless | expected
    assert list(kept) == sorted(kept)


DESCRIBE = """\
import json, os, sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from runback.capture import command
if sys.argv[1:2] == ["chdir"]:
    os.chdir(sys.argv[2])
print(json.dumps(command.describe(Path({project!r}))))
"""


def test_describe_of_a_script(tmp_path: Path) -> None:
    project = tmp_path / "my project"
    (project / "src").mkdir(parents=True)
    (project / "src/train.py").write_text(
        DESCRIBE.format(repository=str(REPOSITORY), project=str(project))
    )

    def told(cwd: Path, *words: str) -> dict[str, Any]:
        environ = {**os.environ, "PWD": str(cwd), "MLFLOW_TRACKING_TOKEN": SECRET}
        arguments = [sys.executable, *words]
        out = subprocess.check_output(arguments, cwd=cwd, env=environ, text=True)
        assert SECRET not in out
        facts: dict[str, Any] = json.loads(out)
        return facts

    facts = told(project, "src/train.py", "--token", SECRET)
    assert facts["argv"][1:] == ["src/train.py", "--token", "***"]
    assert (facts["script"], facts["working_directory"]) == ("src/train.py", ".")
    assert (facts["redacted"], facts["notebook"]) == (["--token"], False)
    assert told(project / "src", "../src/train.py")["working_directory"] == "src"
    assert told(tmp_path, str(project / "src/train.py"))["working_directory"] == str(tmp_path)
    facts = told(project, "-m", "src.train")
    assert (facts["script"], facts["module"]) == ("src/train.py", "src.train")
    # Hydra changes the folder before it trains; the command was given in another.
    assert told(project, "src/train.py", "chdir", "/")["working_directory"] == "."


def test_notebook_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    assert command.in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not command.in_notebook()


def test_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert command.describe(tmp_path)["working_directory"] is None


# packages


def distribution(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file.replace("__", ".")).write_text(text)


def test_packages_by_folder_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    distribution(one, "Flask_Cors-1.0.dist-info", RECORD="x")
    distribution(two, "flask_cors-2.0.dist-info", RECORD="y")
    distribution(two, "no_record-3.0.post1.dist-info")
    distribution(two, "old-1.2-py3.11.egg-info")
    distribution(two, "source.egg-info", **{"PKG-INFO": "Metadata-Version: 2\nVersion: 0.7\n"})
    direct = '{"url": "file:///x", "dir_info": {"editable": true}}'
    distribution(two, "mine-0.1.dist-info", RECORD="z", direct_url__json=direct)
    distribution(two, "bare.dist-info", METADATA="Name: bare\nVersion: 5\n")
    distribution(two, "~orch-1.0.dist-info")
    (two / "single-4.0-py3.11.egg-info").write_text("Metadata-Version: 1.0")
    assert packages.installed([str(one), str(two), "/nowhere", str(one / "a.zip")]) == {
        "bare": "5",
        "flask-cors": f"1.0 {sha256(b'x')}",
        "mine": "0.1 editable",
        "no-record": "3.0.post1",
        "old": "1.2",
        "single": "4.0",
        "source": "0.7",
    }


def test_packages_agree_with_importlib(tmp_path: Path) -> None:
    from importlib.metadata import distributions

    found = {name: text.split()[0] for name, text in packages.installed(sys.path).items()}
    expected = dict[str, str]()
    for found_one in distributions():
        expected.setdefault(kind.normalised(found_one.metadata["Name"]), found_one.version)
    assert found == expected


def test_environment_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock.txt").write_bytes(b"a==1\n")
    monkeypatch.setenv("RUNBACK_IMAGE_ID", "sha256:abc")
    facts = packages.describe(tmp_path, [])
    assert (facts["lock"], facts["image"], facts["packages"]) == (
        sha256(b"a==1\n"),
        "sha256:abc",
        {},
    )
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert packages.describe(tmp_path / "none", [])["lock"] is None


def test_container_by_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CONTAINER_MARKS", (str(tmp_path / "mark"),))
    monkeypatch.setattr(packages, "CONTAINER_GROUPS", ())
    assert not packages.in_container()
    (tmp_path / "mark").touch()
    assert packages.in_container()


# machine


def test_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBACK_HOST", "server")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    facts = machine.describe()
    assert facts["host"] == "server"
    assert facts["threads"]["OMP_NUM_THREADS"] == "3"
    assert facts["cores"] >= facts.get("usable_cores", 1) >= 1
    assert facts["memory_bytes"] > 2**28


CPUINFO = "processor\t: 0\nmodel name\t: Some CPU\nmicrocode\t: 0x1\n"
CPUINFO += "flags\t\t: fpu avx avx512_bf16 fma smep sse4_2 f16c\n\nprocessor\t: 1\n"


def test_machine_as_proc_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/cpuinfo").write_text(CPUINFO)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (tmp_path / "groups/a/b").mkdir(parents=True)
    (tmp_path / "groups/a/b/cpu.max").write_text("max 100000\n")
    (tmp_path / "groups/a/cpu.max").write_text("150000 100000\n")
    (tmp_path / "groups/a/memory.max").write_text("1000000\n")
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    facts = machine.describe()
    flags = ["avx", "avx512_bf16", "f16c", "fma", "sse4_2"]
    assert facts["cpu"] == {"model": "Some CPU", "microcode": "0x1", "flags": flags}
    assert (facts["cpu_limit"], facts["memory_limit_bytes"]) == (1.5, 1_000_000)


def test_machine_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROC", tmp_path / "none")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "none")
    facts = machine.describe()
    assert {"cpu", "boot_id", "cpu_limit", "memory_limit_bytes"} & facts.keys() == set()
    assert machine.loaded_libraries() == {}


SMI = """\
#!/bin/sh
echo 'NVIDIA H100 80GB HBM3, GPU-1234, 81559 MiB, 550.54'
echo 'Odd one, GPU-5, [N/A], 550.54'
"""


def test_gpus_only_with_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(kind, "has_nvidia_driver", lambda: False)
    assert machine.describe()["gpus"] == []
    monkeypatch.setattr(kind, "has_nvidia_driver", lambda: True)
    h100 = {"name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-1234", "driver": "550.54"}
    odd = {"name": "Odd one", "uuid": "GPU-5", "memory_bytes": None, "driver": "550.54"}
    assert machine.describe()["gpus"] == [{**h100, "memory_bytes": 81559 * 2**20}, odd]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(machine, "NVIDIA_SMI_TIMEOUT_S", 0.1)
    assert "gpus" not in machine.describe()


def test_loaded_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "a b").mkdir()
    real = tmp_path / "a b/libcudart.so.12.4.127"
    real.touch()
    (tmp_path / "libcudart.so.12").symlink_to(real)
    names = [*(str(real.parent / n) for n in ("libgomp-a34b.so.1", "libgomp.so.1", "libc.so.6"))]
    names += [str(tmp_path / "libcudart.so.12"), str(tmp_path / "libcudnn_ops.so.9 (deleted)")]
    rows = [f"7f00-7f01 r-xp 0000 fe:00 99      {name}\n" for name in (*names, *names)]
    (tmp_path / "self/maps").write_text("".join([*rows, "7fff-8000 rw-p 0 00:00 0   [stack]\n"]))
    monkeypatch.setattr(machine, "PROC", tmp_path)
    assert machine.loaded_libraries() == {
        "libcudart": ["libcudart.so.12.4.127"],
        "libcudnn_ops": ["libcudnn_ops.so.9"],
        "libgomp": ["libgomp-a34b.so.1", "libgomp.so.1"],
    }


# fingerprint and randomness

FINGERPRINT = """\
import json, random, sys, threading
{imports}
def state():
    found = [random.getstate()]
    if "numpy" in sys.modules:
        import numpy
        found.append([str(part) for part in numpy.random.get_state()])
        found.append([str(numpy.geterr())])
    if "torch" in sys.modules:
        import torch
        found += [torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_num_threads()]
        found += [torch.is_autocast_enabled("cpu"), str(torch.get_default_dtype())]
        found += [torch.cuda.is_initialized()]
    return found
from runback.capture import fingerprint, randomness
before, modules, results = state(), set(sys.modules), []
def work():
    results.append(fingerprint.compute())
    results.append(randomness.describe())
work()
thread = threading.Thread(target=work)
thread.start(); thread.join()
unchanged = json.dumps(state()) == json.dumps(before)
{after}
imported = set(sys.modules) - modules - {{"ctypes", "_ctypes"}}
print(json.dumps([results, unchanged, sorted(imported)]))
"""


def fingerprints(imports: str, after: str = "") -> Any:
    return python(FINGERPRINT.format(imports=imports, after=after), stderr=subprocess.DEVNULL)


def test_nothing_loaded_nothing_digested() -> None:
    results, unchanged, imported = fingerprints("")
    assert results[0] == {}
    assert set(results[1]) == {"hash_randomization", "environ", "python_state"}
    assert unchanged
    assert [name for name in imported if not name.startswith("encodings")] == []


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.mark.skipif(not installed("numpy"), reason="needs numpy")
def test_numpy_fingerprint_repeats_and_disturbs_nothing() -> None:
    results, unchanged, imported = fingerprints("import numpy; numpy.seterr(all='raise')")
    assert set(results[0]) == {"numpy.matmul", "numpy.convolution", "numpy.softmax"}
    assert results[:2] == results[2:], "the same on another thread"
    assert unchanged
    assert imported == []
    assert results[1]["numpy_state"].startswith("sha256:")


@pytest.mark.skipif(not installed("torch"), reason="needs torch")
def test_torch_fingerprint_repeats_and_disturbs_nothing() -> None:
    imports = "import torch; torch.manual_seed(7); torch.set_grad_enabled(False)"
    imports += "; torch.set_num_threads(1); torch.use_deterministic_algorithms(True)"
    imports += "; torch.set_default_device('meta'); torch.set_default_dtype(torch.float64)"
    # After this, torch's older names for it raise.
    imports += "; torch.backends.cuda.matmul.fp32_precision = 'tf32'"
    results, unchanged, imported = fingerprints(imports)
    assert {"torch.matmul", "torch.convolution", "torch.softmax"} <= set(results[0])
    assert results[:2] == results[2:]
    assert unchanged
    assert imported == []
    facts = results[1]["torch"]
    assert (facts["initial_seed"], facts["threads"]) == (7, 1)
    assert facts["deterministic_algorithms"] is True
    assert facts["matmul_allow_tf32"] is True


@pytest.mark.skipif(not installed("tensorflow"), reason="needs tensorflow")
def test_tensorflow_is_left_alone_until_it_has_started() -> None:
    after = "from tensorflow.python.eager import context\n"
    after += "unchanged = unchanged and (context._context is None or not "
    after += "(context._context._initialized or context._context._physical_devices))\n"
    after += "tf.random.set_seed(5); tf.constant(1) + 1; work()"
    results, unchanged, _ = fingerprints("import tensorflow as tf", after)
    assert unchanged, "no context, no look for GPUs"
    early, late = (set(results[at]) for at in (0, 4))
    assert not {name for name in early if name.startswith("tensorflow")}
    assert {"tensorflow.matmul", "tensorflow.convolution", "tensorflow.softmax"} <= late
    facts = [results[at]["tensorflow"] for at in (1, 5)]
    assert [fact["initialized"] for fact in facts] == [False, True]
    assert facts[1]["seed"] == 5
    assert results[1]["keras"]["backend"] == "tensorflow"


def half(name: str, initializing: bool) -> Any:
    module = ModuleType(name)
    module.__spec__ = SimpleNamespace(_initializing=initializing)  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("initializing", [True, False])
def test_half_imported_modules_never_raise(
    initializing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "numpy.random", "torch", "tensorflow", "keras", "IPython"):
        monkeypatch.setitem(sys.modules, name, half(name, initializing))
    assert fingerprint.compute() == {}
    facts = randomness.describe()
    assert facts.get("torch", {}) == {}
    assert "numpy_state" not in facts
    assert not command.in_notebook()


def test_lazy_modules_stay_unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemError('imported')")
    spec = importlib.util.spec_from_file_location("torch", tmp_path / "torch.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lazy)
    monkeypatch.setitem(sys.modules, "torch", lazy)
    assert loaded.module("torch") is None
    assert "torch" not in randomness.describe()


def test_state_of_random_is_read_and_not_moved() -> None:
    random.seed(1)
    first = randomness.describe()["python_state"]
    assert randomness.describe()["python_state"] == first
    assert random.random() == random.Random(1).random()
    assert randomness.describe()["python_state"] != first


# data


def test_declared_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/joe")
    toml = '[tool.runback]\ndata = ["data/", "/abs/x.csv", "~/d", 3]\n'
    (tmp_path / "pyproject.toml").write_text(toml)
    environ = {"RUNBACK_DATA": os.pathsep.join(["more", "", "data", "/y"])}
    expected = [tmp_path / "data", Path("/abs/x.csv"), Path("/home/joe/d")]
    assert data.declared(tmp_path, {}) == expected
    assert data.declared(tmp_path, environ) == [*expected, tmp_path / "more", Path("/y")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broken [",
        "[tool]\nrunback = 3",
        "[tool.runback]\ndata = 3",
        "tool = 1",
        "é".encode("latin1"),
    ],
)
def test_projects_that_declare_nothing(tmp_path: Path, text: str | bytes) -> None:
    assert data.declared(tmp_path, {}) == []
    (tmp_path / "pyproject.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    assert data.declared(tmp_path, {}) == []


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a project with a data folder that has been left alone for a while."""
    for path, text in {"data/b.csv": "bb", "data/sub/a.csv": "a", "one.csv": "1"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        os.utime(tmp_path / path, (1_000_000, 1_000_000))
    return tmp_path


def told(project: Path, *names: str) -> dict[str, Any]:
    cache = project / ".runback" / "digests"
    facts = data.describe([project / name for name in names], project, cache)
    assert json.loads(json.dumps(facts)) == facts
    return facts


def test_data_digests(dataset: Path) -> None:
    lines = f"b.csv\0{sha256(b'bb')}\nsub/a.csv\0{sha256(b'a')}\n".encode()
    facts = told(dataset, "data", "one.csv", "none")
    assert facts["data"] == {
        "path": "data",
        "digest": sha256(lines),
        "files": 2,
        "size_bytes": 3,
    }
    assert facts["one.csv"]["digest"] == sha256(b"1")
    assert facts["none"] == {"path": "none", "missing": "No such file or directory"}
    outside = data.describe([dataset / "one.csv"], dataset / "data", dataset / "cache")
    assert list(outside) == [str(dataset / "one.csv")]


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names = list[str]()
    real = hashlib.file_digest

    def note(file: Any, algorithm: str) -> Any:
        names.append(Path(f"/proc/self/fd/{file.fileno()}").readlink().name)
        return real(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", note)
    return names


def test_data_is_digested_once(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = hashed(monkeypatch)
    first = told(dataset, "data")
    assert sorted(names) == ["a.csv", "b.csv"]
    names.clear()
    assert told(dataset, "data") == first
    assert names == []
    (dataset / "data/b.csv").write_text("BB")
    os.utime(dataset / "data/b.csv", (1_000_001, 1_000_001))
    assert told(dataset, "data") != first
    assert names == ["b.csv"]
    names.clear()
    (dataset / "data/new").write_text("BB")
    os.utime(dataset / "data/new", (1_000_001, 1_000_001))
    (dataset / "data/new").replace(dataset / "data/b.csv")  # same size, same time
    told(dataset, "data")
    assert names == ["b.csv"]


def test_fresh_files_are_not_trusted(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = hashed(monkeypatch)
    os.utime(dataset / "data/b.csv")
    told(dataset, "data")
    told(dataset, "data")
    assert sorted(names) == ["a.csv", "b.csv", "b.csv"]


@pytest.mark.parametrize(
    "damage", [b"", b"\0\xff{[", b'["x", 1]\n3\nnull\n[[], 1, 2, 3, "sha256:"]\n', b"[" * 100_000]
)
def test_damaged_cache_is_ignored(dataset: Path, damage: bytes) -> None:
    first = told(dataset, "data")
    cache = dataset / ".runback" / "digests"
    cache.write_bytes(damage)
    assert told(dataset, "data") == first
    assert len(cache.read_bytes().splitlines()) >= 2
    assert [path.name for path in cache.parent.iterdir()] == ["digests"], "nothing half-written"


def test_cache_that_cannot_be_written(dataset: Path) -> None:
    (dataset / ".runback").write_text("a file, where a folder should be")
    assert told(dataset, "data")["data"]["files"] == 2


def test_cache_is_left_whole_when_writing_fails(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(dataset, "data")
    cache = dataset / ".runback" / "digests"
    before = cache.read_bytes()

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    told(dataset, "data", "one.csv")
    assert cache.read_bytes() == before
    assert [path.name for path in cache.parent.iterdir()] == ["digests"]


def test_links_pipes_and_unreadable_data(dataset: Path) -> None:
    plain = told(dataset, "data")["data"]["digest"]
    (dataset / "data/link.csv").symlink_to(dataset / "one.csv")
    (dataset / "data/around").symlink_to(dataset)
    (dataset / "data/broken").symlink_to("nowhere")
    os.mkfifo(dataset / "data/pipe")
    facts = told(dataset, "data")["data"]
    assert facts["files"] == 3
    assert facts["digest"] != plain
    assert facts["unreadable"] == {
        "around": "a link to a folder",
        "broken": "No such file or directory",
        "pipe": "no regular file",
    }
    (dataset / "elsewhere").symlink_to("data/sub")
    assert told(dataset, "elsewhere")["elsewhere"]["files"] == 1, "a declared link is followed"
    (dataset / "circle").symlink_to("circle")
    assert "missing" in told(dataset, "circle", "data/pipe")["circle"]


def test_a_thread_may_do_all_of_it(dataset: Path) -> None:
    failures = list[BaseException]()

    def work() -> None:
        try:
            told(dataset, "data")
            machine.describe()
            packages.describe()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
