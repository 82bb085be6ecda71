"""The code as it is: everything git would track, nothing secret, the same bytes anywhere."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runback.capture import git, leaving, reading, snapshot
from runback.capture.snapshot import CodeFile, Snapshot
from runback.git import ask

HOSTILE = [
    "a b.py",
    "é/ü.py",
    "new\nline.py",
    "tab\t.py",
    "-rf",
    "'q\".py",
    os.fsdecode(b"\xff.py"),
]


def run_git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    defaults = ("-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always")
    command = ["git", *identity, *defaults, *arguments]
    return subprocess.check_output(command, cwd=folder, text=True, stderr=subprocess.STDOUT).strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def repository(folder: Path, files: dict[str, str]) -> Path:
    """Make a repository with one commit of the files."""
    folder.mkdir(parents=True)
    write(folder, files)
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", "--all", "--force")
    run_git(folder, "commit", "--quiet", "--allow-empty", "--message", "one")
    return folder


def archived(taken: Snapshot) -> bytes:
    target = io.BytesIO()
    snapshot.write_archive(taken, target)
    return target.getvalue()


def unpacked(packed: bytes) -> dict[str, CodeFile]:
    with tarfile.open(fileobj=io.BytesIO(packed), encoding="utf-8") as tar:
        return {
            member.name: CodeFile(
                b"" if member.issym() else (tar.extractfile(member) or io.BytesIO()).read(),
                member.mode == 0o755,
                member.linkname,
            )
            for member in tar
        }


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo", {"train.py": "print(1)\n", "lib/net.py": "x = 1\n"})


def test_dirty_new_and_deleted_files(repo: Path) -> None:
    write(repo, {"train.py": "print(2)\n", "new/note.md": "hi", "junk.log": "x"})
    write(repo, {".gitignore": "*.log\n"})
    (repo / "lib/net.py").unlink()
    taken = snapshot.take(repo)
    assert sorted(taken.files) == [".gitignore", "new/note.md", "train.py"]
    assert taken.files["train.py"].data == b"print(2)\n"
    assert taken.left_out == {}
    assert taken.git is not None
    assert taken.git == {
        "commit": run_git(repo, "rev-parse", "HEAD"),
        "branch": "main",
        "dirty": True,
        "dirty_files": [".gitignore", "lib/net.py", "new/note.md", "train.py"],
        "remote": None,
        "submodules": {},
    }


def test_clean_repository_detached_with_a_password_in_its_remote(repo: Path) -> None:
    run_git(repo, "remote", "add", "backup", "https://example.org/b.git")
    run_git(repo, "remote", "add", "origin", "https://joe:hunter2@example.org/a.git")
    run_git(repo, "checkout", "--quiet", "--detach")
    taken = snapshot.take(repo)
    assert taken.git is not None
    assert (taken.git["dirty"], taken.git["dirty_files"], taken.git["branch"]) == (False, [], None)
    assert taken.git["remote"] == "https://example.org/a.git"


def test_repository_without_a_commit(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": "x"})
    run_git(tmp_path, "init", "--quiet", "--initial-branch=main")
    taken = snapshot.take(tmp_path)
    assert list(taken.files) == ["train.py"]
    assert taken.git is not None
    assert taken.git["commit"] is None
    assert taken.git["branch"] == "main"


def test_folder_of_a_repository(repo: Path) -> None:
    write(repo, {"lib/net.py": "x = 2", "other.py": "", "lib/new.py": ""})
    taken = snapshot.take(repo / "lib")
    assert sorted(taken.files) == ["net.py", "new.py"]
    assert taken.git is not None
    assert taken.git["dirty_files"] == ["net.py", "new.py"]


def test_hostile_names_survive(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", dict.fromkeys(HOSTILE[::2], "tracked"))
    write(repo, dict.fromkeys(HOSTILE[1::2], "new"))
    taken = snapshot.take(repo)
    assert sorted(taken.files) == sorted(HOSTILE)
    assert unpacked(archived(taken)) == taken.files
    assert json.loads(json.dumps(snapshot.describe(taken, repo)))["files"].keys() == set(HOSTILE)


def test_same_code_same_bytes_in_another_folder(tmp_path: Path) -> None:
    files = {"b.py": "b" * 9000, "a/c.py": "c", "long/" + "n" * 120 + ".py": "", "é.py": "é"}
    one = repository(tmp_path / "one", files)
    two = tmp_path / "elsewhere" / "two"
    two.mkdir(parents=True)
    write(two, dict(reversed(files.items())))
    run_git(two, "init", "--quiet")
    for path in files:
        os.utime(two / path, (1, 1))
    first, second = snapshot.take(one), snapshot.take(two)
    assert archived(first) == archived(second)
    assert snapshot.describe(first, one)["digest"] == snapshot.describe(second, two)["digest"]


def test_digest_sees_name_mode_kind_and_content() -> None:
    base = CodeFile(b"x")
    others = [
        {"b": base},
        {"a": CodeFile(b"y")},
        {"a": CodeFile(b"x", executable=True)},
        {"a": CodeFile(b"", link="x")},
        {"a": base, "b": base},
    ]
    digests = {
        snapshot.describe(Snapshot(files, {}, None), Path("/"))["digest"]
        for files in ({"a": base}, *others)
    }
    assert len(digests) == 6


def test_executable_bits(repo: Path) -> None:
    write(repo, {"new.sh": "", "run.sh": ""})
    (repo / "train.py").chmod(0o755)
    (repo / "new.sh").chmod(0o700)
    taken = snapshot.take(repo)
    assert {path for path, file in taken.files.items() if file.executable} == {"train.py", "new.sh"}


def test_file_system_without_modes_believes_git(repo: Path) -> None:
    (repo / "train.py").chmod(0o755)
    run_git(repo, "update-index", "--chmod=+x", "lib/net.py")
    run_git(repo, "config", "core.fileMode", "false")
    files = snapshot.take(repo).files
    assert {path for path, file in files.items() if file.executable} == {"lib/net.py"}


SECRETS = [
    *(".env", ".env.local", "deploy.pem", "host.KEY", "a.p12", "a.pfx", "id_rsa", "id_rsa.pub"),
    *("id_ed25519", "id_ecdsa", ".netrc", ".pypirc", ".npmrc", "credentials", "credentials.json"),
    *("my-service-account-7.json", "secrets.yaml", "conf/secrets.toml", "vault.kdbx"),
]


def test_secrets_are_left_out_and_named_tracked_or_not(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", dict.fromkeys(SECRETS[::2], "SECRET") | {"ok.py": ""})
    write(repo, dict.fromkeys(SECRETS[1::2], "SECRET") | {".env.example": "NAME="})
    taken = snapshot.take(repo)
    assert sorted(taken.files) == [".env.example", "ok.py"]
    assert taken.left_out == dict.fromkeys(SECRETS, "may hold a secret")


def test_secrets_are_left_out_without_git(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(SECRETS, "SECRET") | {"ok.py": ""})
    taken = snapshot.take(tmp_path)
    assert (list(taken.files), taken.git) == (["ok.py"], None)
    assert set(taken.left_out) == set(SECRETS)


def test_results_and_environments_are_left_out_by_folder(repo: Path) -> None:
    write(repo, {"mlruns/0/x/artifacts/m.txt": "", "mlruns/1/y": "", "mlflow.db": "", "a/b.py": ""})
    write(repo, {"venv/pyvenv.cfg": "", "venv/lib/site.py": "", "a/__pycache__/b.pyc": ""})
    write(repo, {"mlflow.db-wal": "", "vendor/node_modules/x.js": ""})
    taken = snapshot.take(repo)
    assert sorted(taken.files) == ["a/b.py", "lib/net.py", "train.py"]
    assert set(taken.left_out) == {
        *("mlruns/", "mlflow.db", "mlflow.db-wal", "venv/", "a/__pycache__/"),
        "vendor/node_modules/",
    }


def test_limits_name_what_they_leave_out(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FILE_MAX_BYTES", 100)
    monkeypatch.setattr(reading, "TOTAL_MAX_BYTES", 150)
    write(repo, {"big.py": "x" * 101, "aaa.dat": "y" * 90, "zzz.py": "z" * 90})
    taken = snapshot.take(repo)
    # Tracked files and source come before what only happens to lie there.
    assert sorted(taken.files) == ["lib/net.py", "train.py", "zzz.py"]
    assert taken.left_out == {
        "big.py": "101 bytes, more than 100",
        "aaa.dat": "the limit of 150 bytes in all was reached",
    }


def test_names_of_what_is_left_out_are_bounded(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LEFT_OUT_MAX", 3)
    write(repo, {f"{number}.pem": "" for number in range(8)})
    left_out = snapshot.take(repo).left_out
    assert left_out["…"] == "and 5 more"
    assert len(left_out) == 4


def test_links_stay_links_and_never_lead_out(repo: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside/secret.txt": "SECRET"})
    (repo / "inner").symlink_to("lib/net.py")
    (repo / "lib/up").symlink_to("../train.py")
    (repo / "dangling").symlink_to("nowhere")
    (repo / "out").symlink_to("../outside/secret.txt")
    (repo / "hop").symlink_to("out")
    (repo / "absolute").symlink_to(repo / "train.py")
    taken = snapshot.take(repo)
    links = {path: file.link for path, file in taken.files.items() if file.link}
    assert links == {"inner": "lib/net.py", "lib/up": "../train.py", "dangling": "nowhere"}
    assert set(taken.left_out) == {"out", "hop", "absolute"}
    assert unpacked(archived(taken)) == taken.files


def test_folder_that_became_a_link_is_not_followed(repo: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside/net.py": "SECRET"})
    (repo / "lib/net.py").unlink()
    (repo / "lib").rmdir()
    (repo / "lib").symlink_to(tmp_path / "outside")
    taken = snapshot.take(repo)
    assert list(taken.files) == ["train.py"]
    assert set(taken.left_out) == {"lib"}


def test_special_and_unreadable_files_are_named(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, {"pipe.py": "", "shut.py": "x"})
    run_git(repo, "add", "pipe.py")
    (repo / "pipe.py").unlink()
    os.mkfifo(repo / "pipe.py")
    opened = os.open

    def refuse(path: str, flags: int) -> int:
        if path.endswith("shut.py"):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    taken = snapshot.take(repo)
    assert taken.left_out == {
        "pipe.py": "no regular file",
        "shut.py": "cannot be read: Permission denied",
    }


def test_socket_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.py")
        assert snapshot.take(tmp_path).left_out == {"s.py": "no regular file"}


def test_export_ignore_of_files_and_folders(repo: Path) -> None:
    write(repo, {".gitattributes": "/docs export-ignore\n*.bin export-ignore\n"})
    write(repo, {"docs/deep/a.md": "", "docs/b.md": "", "x.bin": "", "lib/.gitattributes": ""})
    taken = snapshot.take(repo)
    assert set(taken.left_out) == {"docs/deep/a.md", "docs/b.md", "x.bin"}
    assert "lib/net.py" in taken.files
    assert snapshot.take(repo / "docs").left_out == {}, "a project of its own"


def test_attributes_are_asked_only_if_they_matter(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    real = ask

    def note(root: Path, *arguments: str, stdin: bytes = b"") -> bytes | None:
        asked.append(arguments[0])
        return real(root, *arguments, stdin=stdin)

    monkeypatch.setattr(git, "ask", note)
    snapshot.take(repo)
    assert asked == ["ls-files", "config", "status"]
    asked.clear()
    write(repo, {".gitattributes": "*.txt export-ignore"})
    snapshot.take(repo)
    assert "check-attr" in asked


def test_submodules_by_commit_and_repositories_by_name(repo: Path, tmp_path: Path) -> None:
    library = repository(tmp_path / "library", {"lib.py": ""})
    run_git(repo, "submodule", "--quiet", "add", str(library), "sub")
    repository(repo / "nested", {"x.py": ""})
    taken = snapshot.take(repo)
    assert taken.git is not None
    assert taken.git["submodules"] == {"sub": run_git(library, "rev-parse", "HEAD")}
    assert taken.left_out == {"sub/": "a submodule", "nested/": "a repository of its own"}
    assert ".gitmodules" in taken.files


def test_conflict_is_listed_once(repo: Path) -> None:
    run_git(repo, "checkout", "--quiet", "-b", "side")
    write(repo, {"train.py": "side\n"})
    run_git(repo, "commit", "--quiet", "--all", "--message", "side")
    run_git(repo, "checkout", "--quiet", "main")
    write(repo, {"train.py": "main\n"})
    run_git(repo, "commit", "--quiet", "--all", "--message", "main")
    with pytest.raises(subprocess.CalledProcessError):
        run_git(repo, "merge", "side")
    taken = snapshot.take(repo)
    assert b"<<<<<<<" in taken.files["train.py"].data
    assert taken.git is not None
    assert taken.git["dirty_files"] == ["train.py"]


def test_taking_changes_nothing_in_the_repository(repo: Path) -> None:
    os.utime(repo / "train.py", (1, 1))  # git would like to refresh its index
    before = {path: path.stat().st_mtime_ns for path in repo.rglob("*")}
    snapshot.take(repo)
    assert {path: path.stat().st_mtime_ns for path in repo.rglob("*")} == before


def test_hooks_and_foreign_git_variables_do_not_matter(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_git(repo, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert sorted(snapshot.take(repo).files) == ["lib/net.py", "train.py"]
    assert not (tmp_path / "ran").exists()


def test_slow_search_for_untracked_files_keeps_the_tracked(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ask

    def slow(root: Path, *arguments: str, stdin: bytes = b"") -> bytes | None:
        late = "--others" in arguments or arguments[0] == "status"
        return None if late else real(root, *arguments, stdin=stdin)

    monkeypatch.setattr(git, "ask", slow)
    write(repo, {"new.py": ""})
    taken = snapshot.take(repo)
    assert sorted(taken.files) == ["lib/net.py", "train.py"]
    assert "untracked files" in taken.left_out["…"]
    assert taken.git is not None
    assert (taken.git["dirty"], len(taken.git["commit"])) == (None, 40)


def test_git_that_hangs_is_given_up(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"bin/git": "#!/bin/sh\nexec sleep 60\n"})
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("runback.git.TIMEOUT_S", 0.1)
    taken = snapshot.take(repo)
    assert (sorted(taken.files), taken.git) == (["lib/net.py", "train.py"], None)


def test_no_git_binary(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    taken = snapshot.take(repo)
    assert (sorted(taken.files), taken.git) == (["lib/net.py", "train.py"], None)
    assert taken.left_out == {}


def test_walk_takes_source_and_no_more(tmp_path: Path) -> None:
    source = ["train.py", "a/Dockerfile", "a/b/params.yaml", "data.csv", "poetry.lock", "Makefile"]
    other = ["photo.jpg", ".hidden/x.py", "env2/pyvenv.cfg", "env2/x.py", "lib/site-packages/x.py"]
    other += ["node_modules/x.json", "__pycache__/x.py", "build/x.py", "dist/x.py"]
    other += ["mlruns/x.py", "mlartifacts/x.py", "outputs/x.py"]
    write(tmp_path, dict.fromkeys(source + other, "x"))
    taken = snapshot.take(tmp_path)
    assert sorted(taken.files) == sorted(source)
    assert taken.left_out == {}


def test_what_the_run_has_written_by_now_is_no_code(repo: Path, tmp_path: Path) -> None:
    """A look comes a moment after the run's begin: a short training may have ended by then."""
    names = ("weights.txt", "notes.md", "made.py", "train.py")
    for folder in (repo, tmp_path / "no repository"):
        write(folder, dict.fromkeys(names, "x"))
        for name in names:
            os.utime(folder / name, ns=(0, 10 if name == "notes.md" else 11))
        taken = snapshot.take(folder, since_ns=10)
        assert {*names} - {*taken.files} == {"weights.txt"}
        assert taken.left_out == {"weights.txt": "written since the run began"}


def test_walk_stops_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "WALK_FILES_MAX", 3)
    write(tmp_path, {f"aaa/{number}.py": "" for number in range(9)} | {"train.py": ""})
    taken = snapshot.take(tmp_path)
    assert len(taken.files) == 3
    assert "train.py" in taken.files, "the nearest first"
    assert taken.left_out == {"…": "everything after 3 files: no git here"}


def test_ignored_project_is_walked(repo: Path) -> None:
    write(repo, {".gitignore": "scratch/\n", "scratch/try.py": ""})
    taken = snapshot.take(repo / "scratch")
    assert (list(taken.files), taken.git) == (["try.py"], None)


def test_project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    repo = repository(home / "repo", {"src/train.py": ""})
    write(
        home, {"params.yaml": "", "bare/train.py": "", "plain/setup.py": "", "plain/a/b/t.py": ""}
    )
    (home / "link.py").symlink_to(repo / "src/train.py")
    monkeypatch.setenv("HOME", str(home))
    root = snapshot.project_root
    assert root(tmp_path, repo / "src/train.py") == repo
    assert root(repo / "src", None) == repo
    assert root(tmp_path, home / "link.py") == repo
    assert root(tmp_path, home / "plain/a/b/t.py") == home / "plain"
    assert root(tmp_path, home / "bare/train.py") == home / "bare", "never the home directory"
    assert root(home, None) == home, "unless it is asked for"
    assert root(repo, Path(pytest.__file__)) == repo, "an installed program is no project"
    run_git(home, "init", "--quiet")
    assert root(tmp_path, home / "bare/train.py") == home / "bare", "nor for its dotfiles"


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
FILES = st.builds(CodeFile, st.binary(max_size=2000), st.booleans())


@given(st.dictionaries(PATHS, FILES, max_size=8))
def test_what_is_archived_comes_out_again(files: dict[str, CodeFile]) -> None:
    packed = archived(Snapshot(files, {}, None))
    assert unpacked(packed) == files
    assert archived(Snapshot(dict(reversed(files.items())), {}, None)) == packed


def test_archive_holds_no_time_and_no_owner(repo: Path) -> None:
    packed = archived(snapshot.take(repo))
    assert packed[:10] == bytes.fromhex("1f8b08000000000000ff")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar:
            owner = (member.uid, member.gid, member.uname, member.gname)
            assert (owner, member.mtime) == ((0, 0, "", ""), 0)
            assert stat.S_IMODE(member.mode) == 0o644


def test_what_is_left_out_is_not_read(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret, a pipe, a socket, 20 GB and 50,000 ignored files: capture reads none of them."""
    write(repo, {".env": "TOKEN=x", ".gitignore": "cache/\n*.tmp\n", "cache/a": "", "x.tmp": ""})
    for number in range(50_000):
        os.close(os.open(repo / "cache" / str(number), os.O_CREAT))
    os.mkfifo(repo / "pipe")
    with (repo / "huge.bin").open("wb") as huge:
        huge.truncate(20_000_000_000)
    monkeypatch.chdir(repo)
    opened, real = list[str](), os.open

    def noting(path: str, flags: int) -> int:
        opened.append(os.path.relpath(path, repo))
        return real(path, flags)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        monkeypatch.setattr(os, "open", noting)
        taken = snapshot.take(repo)
    assert sorted(taken.files) == [".gitignore", "lib/net.py", "train.py"]
    # Of the huge one, the size is looked at.
    inside = [path for path in opened if not path.startswith("..")]
    assert sorted(inside) == sorted([*taken.files, "huge.bin"])
    assert taken.left_out == {
        ".env": "may hold a secret",
        "huge.bin": "20,000,000,000 bytes, more than 10,000,000",
    }
