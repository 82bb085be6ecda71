"""runback freeze, and replay from what it wrote: whole, elsewhere, without store or index."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from training import Store, make
from wheels import make_wheel

from runback.frozen import image
from runback.frozen.contents import IMAGE, NAME
from runback.frozen.errors import ArchiveDamaged, NotFrozen, OtherPython
from runback.frozen.replay import planned
from runback.frozen.source import opened
from runback.launch.engine import Engine, find
from runback.record import files
from runback.replay.environment import IMAGE as IN_IMAGE
from runback.replay.environment import LOCK, Surroundings
from runback.replay.errors import DataGone
from runback.replay.plan import Plan, Wish

TRAIN = """\
import os, random, sys
from pathlib import Path

import mlflow

import local

random.seed(7)
for name in ("first", "second"):
    with mlflow.start_run(run_name=name):
        numbers = [float(line) for line in Path("data/numbers.txt").read_text().split()]
        weight = 0.0
        for step in range(5):
            weight += local.RATE * (random.choice(numbers) - weight)
            mlflow.log_metric("weight", weight, step=step)
        Path("weights.txt").write_text(repr(weight))
        mlflow.log_artifact("weights.txt")
"""
IMAGE_ID = "sha256:" + "1" * 64
# Keeps one image in a file; what it is told stands in `calls`.
ENGINE = """\
#!{python} -IS
import os, pathlib, shutil, sys, time
here = pathlib.Path({folder!r})
with (here / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
verb = sys.argv[1]
if verb == "info":
    print('{{"ServerVersion": "27.0"}}')
elif verb == "image":
    sys.exit(0 if (here / "image").exists() and not print({image!r}) else 1)
elif verb == "save":
    sys.stdout.buffer.write((here / "image").read_bytes())
    sys.stdout.flush()
    time.sleep(1000 if (here / "slow").exists() else 0)
elif verb == "load":
    (here / "image").write_bytes(sys.stdin.buffer.read())
"""


@dataclass(frozen=True)
class Lab:
    """A project with data and a module that git ignores, and a lock of one small wheel."""

    store: Store
    wheels: Path

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `runback WORDS`; pip finds the small wheels and nothing else."""
        return runback(self.store.root, *words, **{**self.pip(), **environ})

    def pip(self) -> dict[str, str]:
        found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri()}
        return {**found, "PIP_CONFIG_FILE": os.devnull}

    def freeze(self, *words: str, **environ: str) -> Path:
        """Freeze; return the path."""
        done = self.run("freeze", *words, "-q", **environ)
        assert done.returncode == 0, done.stderr
        return self.store.root / done.stdout.strip()

    def refused(self, *words: str, **environ: str) -> str:
        """Freeze what cannot be, see that nothing was written; return what was said."""
        target = self.store.root / "refused.tar"
        done = self.run("freeze", *words, "--to", str(target), **environ)
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert not list(self.store.root.glob("*refused*"))
        return done.stderr


def runback(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    store = Store(folder)
    return store._ended(store._start("-m", "runback", *words, **environ))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Lab:
    """Return a project in git, in which the runs `first` and `second` of one process were made."""
    root = tmp_path_factory.mktemp("freeze") / "my project"
    store = make(root, template)
    wheels = root.parent / "wheels"
    for name, text in (
        ("train.py", TRAIN),
        ("local.py", "RATE = 0.5\n"),
        ("pyproject.toml", '[tool.runback]\ndata = ["data"]\n'),
        ("requirements.txt", make_wheel(wheels, "alpha", "1.0")),
        (".gitignore", "data/\nmlruns/\nmlflow.db*\nreplays/\n.runback/\nlocal.py\n"),
        ("data/numbers.txt", "1.0\n2.5\n4.25\n8.0\n"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "start")):
        subprocess.run([*git, *words], cwd=root, check=True)
    done = store._ended(store._start("train.py"))
    assert done.returncode == 0, done.stderr
    return Lab(store, wheels)


@pytest.fixture(scope="module")
def archive(lab: Lab) -> Path:
    return lab.freeze("second")


@pytest.fixture
def manifest(lab: Lab) -> Iterator[Callable[..., None]]:
    """Return a function that changes what the manifest of the run `second` says, for one test."""
    path = lab.store.record(lab.store.named("second")) / files.MANIFEST
    whole = path.read_text()

    def change(part: str, **values: Any) -> None:
        known = json.loads(path.read_text())
        path.write_text(json.dumps({**known, part: {**known[part], **values}}))

    yield change
    path.write_text(whole)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Return the folder of a stand-in engine that has an image: `image`, `calls`, `bin/docker`."""
    folder = tmp_path / "engine"
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "docker"
    python = Path(sys.base_prefix) / "bin" / "python3"
    program.write_text(ENGINE.format(python=python, folder=str(folder), image=IMAGE_ID))
    program.chmod(0o755)
    (folder / "image").write_bytes(image_archive())
    return folder


def image_archive(*tags: str) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        content = json.dumps([{"Config": "a.json", "RepoTags": list(tags), "Layers": []}]).encode()
        about = tarfile.TarInfo("manifest.json")
        about.size = len(content)
        tar.addfile(about, io.BytesIO(content))
    return found.getvalue()


def on_path(engine: Path) -> dict[str, str]:
    return {"PATH": f"{engine}/bin:{os.environ['PATH']}"}


def plain(text: str) -> str:
    """Return a screen without what differs each time."""
    text = re.sub(r"\b[0-9a-f]{8}\b", "ID", text)
    return re.sub(r"[\d.]+ k?B", "SIZE", text)


def plan(archive: Path, folder: Path, wish: Wish, template: Path, **around: Any) -> Plan:
    """Plan the replay of an archive in a store of its own in `folder`."""
    with opened(archive) as source:
        root = folder / "replays" / f"frozen-{source.contents.run_id[:8]}"
    if not root.exists():
        root.mkdir(parents=True)
        shutil.copyfile(template, root / "mlflow.db")
    surroundings = Surroundings(**{"path": "", "cache": folder / "cache", **around})
    return planned(archive, folder, wish, surroundings, {}, lambda message: None)


def test_archive_says_what_is_in_it_and_what_is_not(lab: Lab) -> None:
    done = lab.run("freeze", "second", "--to", "here.tar", "--no-data")
    assert done.returncode == 0, done.stderr
    assert plain(done.stdout) == FROZEN
    assert done.stderr == (
        "runback: downloading the wheels of the recorded lock\nnot in it: data data: not wanted\n"
    )
    told = json.loads(lab.run("freeze", "second", "--to", "two.tar", "--json").stdout)
    assert told["left_out"] == {}
    assert told["data"]["data"]["at"] == "data/0"
    with tarfile.open(lab.store.root / "two.tar") as tar:
        names = tar.getnames()
    assert names[-1] == NAME
    assert names[:-1] == list(told["files"])
    assert sum(name.endswith("/runback/manifest.json") for name in names) == 2  # `first` too


FROZEN = """\
here.tar
  record, artifacts, checkpoints: 9 files, SIZE
  code that no snapshot has: 1 file, SIZE
  wheels of the lock: 1 file, SIZE
"""


def test_archive_is_replayed_where_nothing_else_is(lab: Lab, archive: Path, tmp_path: Path) -> None:
    """No store, no project, no index; a second time nothing is unpacked."""
    assert archive == lab.store.root / "frozen" / f"second-{lab.store.named('second')[:8]}.tar"
    shutil.copyfile(archive, tmp_path / "old.tar")
    away = lab.store.root.rename(lab.store.root.with_name("away"))
    place = tmp_path / "elsewhere"
    place.mkdir()
    nowhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    try:
        done = runback(place, "replay", str(tmp_path / "old.tar"), "-q", **nowhere)
    finally:
        away.rename(lab.store.root)
    assert (done.returncode, done.stdout) == (0, "identical\n"), done.stderr
    assert "its code is run now" in done.stderr
    assert "runback: unpacking 11 files of " in done.stderr
    told = list[str]()
    around = Surroundings(path="", cache=tmp_path)
    planned(tmp_path / "old.tar", place, Wish(), around, {}, told.append)
    assert told == []
    (root,) = (path for path in (place / "replays").iterdir() if path.is_dir())
    runs = Store(root).runs()
    assert len(runs) == 4  # two that were frozen, and both again
    assert set(runs.values()) == {"FINISHED"}


def test_two_archives_of_a_run_are_the_same(lab: Lab, archive: Path) -> None:
    other = lab.freeze("second", "--to", "other.tar")
    with tarfile.open(archive) as one, tarfile.open(other) as two:
        assert one.getnames() == two.getnames()
        for a, b in zip(one, two, strict=True):
            if a.name != NAME:
                assert a.tobuf() == b.tobuf()
                assert one.extractfile(a).read() == two.extractfile(b).read()  # type: ignore[union-attr]


def test_folder_is_as_good(lab: Lab, tmp_path: Path, template: Path) -> None:
    folder = lab.freeze("second", "--to", str(tmp_path / "kept"))
    made = plan(folder, tmp_path, Wish(), template)
    assert made.original.damaged == []
    assert (made.data["data"] / "numbers.txt").read_text() == "1.0\n2.5\n4.25\n8.0\n"
    assert (made.original.root / "beside" / "local.py").read_text() == "RATE = 0.5\n"
    (folder / "beside" / "local.py").write_text("RATE = 0.6\n")
    assert plan(folder, tmp_path, Wish(), template)  # what was unpacked is whole
    with pytest.raises(ArchiveDamaged, match=r"beside/local\.py is not what was frozen"):
        plan(folder, tmp_path / "new", Wish(), template)


def test_what_is_damaged_here_is_unpacked_again(
    archive: Path, tmp_path: Path, template: Path
) -> None:
    made = plan(archive, tmp_path, Wish(), template)
    numbers = made.data["data"] / "numbers.txt"
    (made.original.artifacts / "weights.txt").unlink()
    numbers.unlink()
    numbers.write_text("9.0\n")
    made = plan(archive, tmp_path, Wish(), template)
    assert numbers.read_text() == "1.0\n2.5\n4.25\n8.0\n"
    assert made.original.damaged == []


def test_data_that_cannot_be_had_is_said(lab: Lab, tmp_path: Path, template: Path) -> None:
    data = lab.store.root / "data"
    numbers = (data / "numbers.txt").read_text()
    (data / "numbers.txt").write_text("9.0\n")
    changed = lab.run("freeze", "second", "--to", "changed.tar")
    (data / "numbers.txt").write_text(numbers)
    data.rename(lab.store.root / "gone")
    gone = lab.run("freeze", "second", "--to", "gone.tar", "--json")
    (lab.store.root / "gone").rename(data)
    assert f"not in it: data data: is not what it was any more, at {data}\n" in changed.stderr
    told = json.loads(gone.stdout)
    assert told["left_out"] == {"data data": f"is not at {data} any more"}
    assert told["data"]["data"].keys() == {"digest", "files", "size_bytes"}
    with pytest.raises(DataGone):
        plan(lab.store.root / "gone.tar", tmp_path, Wish(), template)
    made = plan(lab.store.root / "gone.tar", tmp_path, Wish(data={"data": data}), template)
    assert made.data == {"data": data}


def test_damaged_run_is_not_frozen(lab: Lab) -> None:
    weights = lab.store.record(lab.store.named("second")).parent / "weights.txt"
    whole = weights.read_text()
    weights.write_text("0.0")
    try:
        said = lab.refused("second")
    finally:
        weights.write_text(whole)
    assert "weights.txt: differs from its digest" in said
    assert "no run has an id" in lab.refused("nothing-of-that-name")
    (lab.store.root / "taken.tar").write_text("mine")
    done = lab.run("freeze", "second", "--to", "taken.tar")
    assert (done.returncode, (lab.store.root / "taken.tar").read_text()) == (3, "mine")
    assert "taken.tar is there: nothing was written" in done.stderr


def test_environment_is_made_from_the_wheels_alone(
    archive: Path, tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an index, once: the second replay uses it again."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")
    made = plan(archive, tmp_path, Wish(environment=LOCK), template)
    assert (made.environment.kind, made.environment.is_ready) == (LOCK, True)
    code = [made.environment.python, "-I", "-c", "import alpha; print(alpha.version)"]
    assert subprocess.check_output(code, text=True) == "1.0\n"
    assert not (made.original.root / "wheels").exists()
    stamp = Path(made.environment.python).parents[1] / "runback.json"
    before = stamp.stat().st_mtime_ns
    again = plan(archive, tmp_path, Wish(environment=LOCK), template)
    assert again.environment == made.environment
    assert stamp.stat().st_mtime_ns == before


def test_wheels_of_another_python(archive: Path, tmp_path: Path, template: Path) -> None:
    old = rewritten(archive, tmp_path / "old.tar", python="3.99.1")
    with pytest.raises(OtherPython, match=r"for Python 3\.99, and this is 3\.1"):
        plan(old, tmp_path, Wish(environment=LOCK), template)


def test_package_that_is_not_to_be_had_is_named(lab: Lab, tmp_path: Path) -> None:
    said = lab.refused("second", PIP_FIND_LINKS=tmp_path.as_uri())
    assert "error: alpha==1.0 cannot be downloaded: No matching distribution found" in said
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0", "changed = True\n")
    said = lab.refused("second", PIP_FIND_LINKS=wheels.as_uri())
    assert "error: alpha==1.0 cannot be downloaded: " in said


def test_run_without_a_lock(lab: Lab, manifest: Callable[..., None]) -> None:
    manifest("environment", lock=None)
    said = lab.refused("second")
    assert "the lock of its environment is not in its record" in said
    assert "--no-wheels" in said
    done = lab.run("freeze", "second", "--to", "bare.tar", "--no-wheels")
    assert done.returncode == 0
    assert "not in it: wheels: not wanted\n" in done.stderr


def test_image_is_saved_and_loaded_where_it_is_gone(
    lab: Lab, manifest: Callable[..., None], engine: Path, tmp_path: Path, template: Path
) -> None:
    manifest("environment", image=IMAGE_ID)
    archive = lab.freeze("second", "--to", "image.tar", **on_path(engine))
    with tarfile.open(archive) as tar:
        assert IMAGE in tar.getnames()
        assert not any(name.startswith("wheels") for name in tar.getnames())
    assert f"save {IMAGE_ID}\n" in (engine / "calls").read_text()
    (engine / "image").unlink()
    (engine / "calls").unlink()
    for _ in range(2):
        made = plan(archive, tmp_path, Wish(), template, path=f"{engine}/bin")
        assert (made.environment.kind, made.environment.image) == (IN_IMAGE, IMAGE_ID)
    assert (engine / "image").read_bytes() == image_archive()
    assert (engine / "calls").read_text().count("load\n") == 1


def test_image_that_is_gone_gives_way_to_the_wheels(
    lab: Lab, manifest: Callable[..., None], engine: Path, tmp_path: Path, template: Path
) -> None:
    manifest("environment", image=IMAGE_ID)
    (engine / "image").unlink()
    done = lab.run("freeze", "second", "--to", "fallback.tar", **on_path(engine))
    assert "wheels of the lock: 1 file" in done.stdout
    why = f"image {IMAGE_ID[:19]} is gone from docker"
    assert f"not in it: image: its {why}\n" in done.stderr
    said = lab.refused("second", "--image", **on_path(engine))
    assert f"cannot be frozen: its {why}\n" in said
    archive = lab.store.root / "fallback.tar"
    made = plan(archive, tmp_path, Wish(), template, path=f"{engine}/bin")
    assert made.environment.kind != IN_IMAGE  # none is built from a registry
    manifest("environment", lock=None)
    assert f"{why}, and the lock of" in lab.refused("second", **on_path(engine))


def test_image_with_a_name_replaces_none_here(
    lab: Lab, manifest: Callable[..., None], engine: Path, tmp_path: Path, template: Path
) -> None:
    manifest("environment", image=IMAGE_ID)
    archive = lab.freeze("second", "--to", "named.tar", **on_path(engine))
    (engine / "image").unlink()
    for content, reason in (
        (image_archive("python:3.11"), "names the image"),
        (b"\0" * 10240, "is no archive of an image"),
    ):
        hostile = rewritten(archive, tmp_path / "hostile.tar", {IMAGE: content})
        with pytest.raises(ArchiveDamaged, match=reason):
            plan(hostile, tmp_path, Wish(), template, path=f"{engine}/bin")
    assert not (engine / "image").exists()


def test_full_disk_leaves_nothing(
    lab: Lab, manifest: Callable[..., None], engine: Path, small_disk: Path
) -> None:
    manifest("environment", image=IMAGE_ID)
    (engine / "image").write_bytes(bytes(20_000_000))
    for name in ("a.tar", "folder"):
        done = lab.run("freeze", "second", "--to", str(small_disk / name), **on_path(engine))
        assert done.returncode == 3
        assert f"error: {small_disk} has no room for {name}" in done.stderr
        assert list(small_disk.iterdir()) == []


def test_killed_freeze_leaves_no_archive(
    lab: Lab, manifest: Callable[..., None], engine: Path, tmp_path: Path
) -> None:
    """kill -9 while the image is saved; the next freeze removes what that left."""
    manifest("environment", image=IMAGE_ID)
    target, slow = tmp_path / "kept" / "a.tar", engine / "slow"
    slow.touch()
    words = ("-m", "runback", "freeze", "second", "--to", str(target))
    process = lab.store._start(*words, **on_path(engine))
    until(lambda: (engine / "calls").exists() and "save" in (engine / "calls").read_text())
    until(lambda: any(path.stat().st_size for path in target.parent.rglob("*.tar")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not target.exists()
    assert [path.name[:7] for path in target.parent.iterdir()] == [".a.tar."]
    slow.unlink()
    lab.freeze("second", "--to", str(target), **on_path(engine))
    assert list(target.parent.iterdir()) == [target]


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def rewritten(
    archive: Path, target: Path, content: dict[str, bytes] | None = None, **known: Any
) -> Path:
    """Write an archive as a stranger could: with other content, and a frozen.json that agrees."""
    with tarfile.open(archive) as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    about = json.loads(found.pop(NAME))
    found |= content or {}
    for name, data in (content or {}).items():
        path = target.with_name("part")
        path.write_bytes(data)
        about["files"][name] = files.digest(path)
    about |= known
    with tarfile.open(target, "w") as tar:
        for name, data in {**found, NAME: json.dumps(about).encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target


OUTSIDE = ("../evil.txt", "/tmp/evil.txt", "mlruns/1/../../../evil", ".runback/store.json", "x")


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_file_leaves_its_place(archive: Path, tmp_path: Path, template: Path, name: str) -> None:
    hostile = rewritten(archive, tmp_path / "hostile.tar", {name: b"evil"})
    with pytest.raises(NotFrozen, match="belongs to no frozen run"):
        plan(hostile, tmp_path, Wish(), template)
    assert not list(tmp_path.rglob("evil*"))


def added(archive: Path, target: Path, member: tarfile.TarInfo, data: bytes = b"") -> Path:
    """Write the archive with one more member at its beginning."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        new.addfile(member, io.BytesIO(data))
        for other in old:
            new.addfile(other, old.extractfile(other))
    return target


def member(name: str, **values: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (member("data/0", type=tarfile.SYMTYPE, linkname="/etc"), "'data/0' is no plain file"),
        (member("data/1", type=tarfile.LNKTYPE, linkname="data/0/x"), "is no plain file"),
        (member("data/pipe", type=tarfile.FIFOTYPE), "is no plain file"),
        (member("data/9"), "'data/9' is in it, and not frozen"),
        (member("data/0/numbers.txt"), "is in it twice"),
        (member("x" * 3_000_000), "one of its headers has 30"),
    ],
)
def test_hostile_members(
    archive: Path, tmp_path: Path, extra: tarfile.TarInfo, reason: str
) -> None:
    hostile = added(archive, tmp_path / "hostile.tar", extra)
    with pytest.raises((ArchiveDamaged, NotFrozen), match=reason), opened(hostile):
        pass


def test_what_is_no_archive_or_not_all_of_one(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    bad = tmp_path / "bad.tar"
    for content, reason in (
        (b"", "empty file"),
        (b"hello" * 1000, "is not a frozen run"),
        (whole[: len(whole) // 2], "is not a frozen run, or not all of one"),
        (whole[:1024], "is not a frozen run, or not all of one"),
    ):
        bad.write_bytes(content)
        done = runback(tmp_path, "replay", str(bad))
        assert (done.returncode, done.stdout) == (3, "")
        assert reason in done.stderr
        assert not (tmp_path / "replays").exists()
    done = runback(tmp_path, "replay", "nowhere.tar")
    assert "nowhere.tar is not a frozen run, or not all of one: is missing" in done.stderr


def test_flipped_bit_is_named(archive: Path, tmp_path: Path, template: Path) -> None:
    whole = archive.read_bytes()
    flipped = tmp_path / "flipped.tar"
    flipped.write_bytes(whole.replace(b"1.0\n2.5\n", b"1.0\n2.6\n"))
    with pytest.raises(ArchiveDamaged, match=r"data/0/numbers\.txt is not what was frozen"):
        plan(flipped, tmp_path, Wish(), template)
    assert not list(tmp_path.rglob("numbers.txt"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "has format 2, newer than 1: update runback"),
        ({"kind": "cake"}, "is of something else"),
        ({"run_id": "../x"}, "has no right run_id"),
        ({"data": {"data": {"at": "/etc"}}}, "has no right data"),
        ({"files": []}, "has no right files"),
    ],
)
def test_frozen_json_is_read_as_a_strangers(
    archive: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    hostile = rewritten(archive, tmp_path / "hostile.tar", **change)
    with pytest.raises(NotFrozen, match=reason), opened(hostile):
        pass


@pytest.mark.engine
def test_a_real_engine_gives_and_takes_an_image(lab: Lab, archive: Path, tmp_path: Path) -> None:
    found = find()
    if not isinstance(found, Engine):
        pytest.skip(f"needs an engine that answers ({found})")
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(member("hello", size=5), io.BytesIO(b"hello"))
    made = subprocess.check_output([found.program, "import", str(layer), "runback-test:freeze"])
    image_id = made.decode().strip()
    try:
        content = b"".join(image.saved(found, image_id))
        subprocess.run([found.program, "rmi", "runback-test:freeze"], check=True)
        frozen = rewritten(archive, tmp_path / "frozen.tar", {IMAGE: content}, image=image_id)
        with opened(frozen) as source:
            image.load(found, image_id, source)
    finally:
        subprocess.run([found.program, "rmi", image_id], capture_output=True)
