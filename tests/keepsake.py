"""Repositories as Keepsake 0.4.2 writes them: the order of its keys, its numbers, its archives."""

from __future__ import annotations

import gzip
import io
import json
import math
import posixpath
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGES = {"PyYAML": "5.4.1", "torch": "1.7.1"}


def experiment_id(number: int) -> str:
    return f"{number:04x}" + "ab" * 30


def checkpoint_id(number: int, position: int) -> str:
    return f"{number:04x}{position:04x}" + "cd" * 28


def go(value: Any) -> Any:
    """Return a value as Go's encoder writes it: 1.0 as 1, NaN and infinities as words."""
    if isinstance(value, float):
        if math.isnan(value):
            return "[NaN]"
        if math.isinf(value):
            return "[+Infinity]" if value > 0 else "[-Infinity]"
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: go(value[key]) for key in sorted(value)}
    return [go(entry) for entry in value] if isinstance(value, list) else value


class Repository:
    """Writes experiments into a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "metadata" / "experiments").mkdir(parents=True)
        (root / "repository.json").write_text('{"version":1}')

    def add(
        self,
        number: int,
        losses: Iterable[Any] = (0.5, 0.25),
        path: str = "model.pt",
        goal: str = "minimize",
        **fields: Any,
    ) -> str:
        """Add an experiment with a checkpoint for each loss; return its id."""
        found = experiment_id(number)
        checkpoints = [
            self.checkpoint(number, position, loss, path, goal)
            for position, loss in enumerate(losses)
        ]
        content = {
            "id": found,
            "created": f"2021-02-06T10:{number % 60:02}:00.123456789Z",
            "params": go({"learning_rate": 0.01, "layers": [64, 1.0], "epochs": 20}),
            "host": "",
            "user": "ada",
            "config": {"repository": "file:///home/ada/digits/.keepsake", "storage": ""},
            "command": "train.py --lr 0.01 'a b'",
            "path": ".",
            "python_version": "3.8.6",
            "python_packages": PACKAGES,
            "checkpoints": checkpoints or None,
            "keepsake_version": "0.4.2",
            **fields,
        }
        self.write(found, content)
        if content["path"]:
            self.archive("experiments", found, {"train.py": b"print(1)\n", "lib/a.py": b"a = 1\n"})
        return found

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=1).replace("<", "\\u003c")
        self.json(name).write_text(text)

    def json(self, name: str) -> Path:
        return self.root / "metadata" / "experiments" / f"{name}.json"

    def checkpoint(
        self, number: int, position: int, loss: Any, path: str = "model.pt", goal: str = "minimize"
    ) -> dict[str, Any]:
        """Write the files of a checkpoint; return its entry."""
        found = checkpoint_id(number, position)
        if path:
            name = posixpath.normpath(path)  # as Go's filepath.Join does
            name = "weights/a.bin" if path == "." else name + "/a.bin" * path.endswith("/")
            self.archive("checkpoints", found, {name: b"%d %d" % (number, position) * 100})
        return {
            "id": found,
            "created": f"2021-02-06T11:{number % 60:02}:{position:02}.5Z",
            "metrics": go({"loss": loss, "accuracy": 1.0}),
            "step": position * 10,
            "path": path,
            "primary_metric": {"name": "loss", "goal": goal},
        }

    def archive(self, kind: str, name: str, content: Mapping[str, bytes]) -> Path:
        path = self.path(kind, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tar_gz({f"{name}/{part}": data for part, data in content.items()}))
        return path

    def path(self, kind: str, name: str) -> Path:
        return self.root / kind / f"{name}.tar.gz"

    def beat(self, name: str, time: str) -> None:
        path = self.root / "metadata" / "heartbeats" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"experiment_id": name, "last_heartbeat": time}, indent=1))


def tar_gz(content: Mapping[str, bytes]) -> bytes:
    return members_gz((plain(name, len(data)), data) for name, data in content.items())


def plain(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 1_612_605_600
    return member


def members_gz(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(target.getvalue())
