"""One of the two runs that are compared: where its files lie, and what its record says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runback.evidence import images
from runback.record import check, files, manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runback.evidence.own import Own
    from runback.record.state import Rows

# Of an artifact whose digest nobody took, as `manifest.digests` words it.
Digests = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Side:
    """One of the two runs: its id, its folders, its manifest (already read).

    artifacts: the run's artifact folder; its record lies in artifacts/runback. models:
    the artifact folder of each logged model that is here, by id.
    """

    run_id: str
    artifacts: Path
    models: Mapping[str, Path]
    manifest: Mapping[str, Any]

    @property
    def record(self) -> Path:
        return files.folder_of(self.artifacts)

    def artifact_digests(self) -> Digests:
        """Return the digests of the run's artifacts: the manifest's.

        Those of now where it has none: of a run that was killed, of what was logged to a
        server, or came after the end.
        """
        is_final = manifest.is_final(dict(self.manifest))
        known = _checked(self.manifest.get("artifacts")) if is_final else {}
        return {**manifest.digests(self.artifacts, known), **known}

    def model_digests(self, model_id: str) -> Digests:
        """Return the digests of a logged model's files; none if nobody took them."""
        models = self.manifest.get("models")
        known = models.get(model_id) if isinstance(models, dict) else None
        if model_id not in self.models:
            return _checked(known)
        folder = self.models[model_id]
        if known is None:
            return manifest.model_digests(folder, model_id)
        taken = _checked(known)
        return {**manifest.digests(folder, taken.keys() | {check.WRITTEN_BY_READERS}), **taken}

    def is_of_before(self, artifact: str) -> bool:
        """Say whether an artifact was there when the last process went on with the run."""
        again = self.manifest.get("resumed")
        last = again[-1] if isinstance(again, list) and again else {}
        process = last.get("process") if isinstance(last, dict) else None
        since = process.get("recorded_from_ms") if isinstance(process, dict) else None
        try:
            written_ms = (self.artifacts / self._real(artifact)).lstat().st_mtime_ns // 1_000_000
        except OSError:
            return False
        return isinstance(since, int) and written_ms < since

    def _real(self, artifact: str) -> str:
        """Return the name of a file that `images.names` calls so."""
        if not artifact.startswith(images.FOLDER):
            return artifact
        shown = images.names(self.artifact_digests())
        return next((name for name, word in shown.items() if word == artifact), artifact)

    def ended_by(self) -> str:
        """Return the signal or exception that ended the process, "" if none."""
        ended = self.manifest.get("ended")
        return str(ended.get("by") or "") if isinstance(ended, dict) else ""


@dataclass(frozen=True)
class Wish:
    """How two runs are to be compared.

    tolerance: relative and absolute, as numpy.isclose(rtol=, atol=) takes it; None: to
    the bit. ignore: globs of params, metrics and artifacts that are set aside. from_step:
    the replay began after this step, and what the original did before is not compared.
    is_resumed: there the original went on in a later process, and the replay is of that.
    is_partial: the original was killed, and what only the replay has is set aside.
    roots: the folder of the project then and in the replay.
    """

    tolerance: float | None = None
    ignore: Sequence[str] = ()
    from_step: int | None = None
    is_resumed: bool = False
    is_partial: bool = False
    roots: tuple[str, str] | None = None


@dataclass(frozen=True)
class Pair:
    """Both runs, MLflow's rows of each, what each calls its own, and what is wished."""

    recorded: Side
    replayed: Side
    wish: Wish
    rows: tuple[Rows, Rows]
    owns: tuple[Own, Own]


def _checked(found: Any) -> Digests:
    if not isinstance(found, dict):
        return {}
    return {n: k if isinstance(k, dict) else {"error": "no digest"} for n, k in found.items()}
