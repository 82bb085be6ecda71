"""The run to replay: its record, read, checked, and refused where it does not suffice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.errors import NoSuchRun, RecordError
from runback.launch.inside import origin
from runback.record import check, files, manifest
from runback.replay.errors import CannotReplay, RecordDamaged
from runback.runs.code import code_of
from runback.runs.folder import files_of, record_of
from runback.runs.run import read as read_runs
from runback.store import identity
from runback.store.alive import Life
from runback.store.tags import PARENT_TAG, SESSION_TAG

if TYPE_CHECKING:
    from runback.runs.code import Code
    from runback.runs.run import Run

# Without these a record does not tell what was run.
_ESSENTIAL = (files.CODE, files.MANIFEST, files.METRICS, files.RUN, files.LEDGER)


@dataclass(frozen=True)
class Original:
    """A run whose record says how to run it again.

    is_own: recorded by this store, so that paths of this machine in it are true. damaged:
    what of its results is not as the manifest has it (its digests still are).
    """

    root: Path
    run: Run
    record: Path
    manifest: dict[str, Any]
    code: Code
    is_own: bool
    damaged: list[str]

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def artifacts(self) -> Path:
        return self.record.parent

    @property
    def command(self) -> dict[str, Any]:
        """Return the command of the process that ended it; `resume` makes several of a run."""
        return last_command(self.manifest)

    @property
    def script(self) -> str | None:
        """Return the main program, relative to the project; None if it is none of its files."""
        found = self.command.get("script")
        return found if isinstance(found, str) and found in self.code.files else None

    @property
    def project(self) -> str:
        """Return the folder of the project when it was recorded."""
        return str(part(self.manifest, "code").get("root") or "/")

    @property
    def project_here(self) -> Path:
        """Return the folder of the project as it is now; of a copy that DVC made, whose it was."""
        return origin(Path(self.project))

    @property
    def was_killed(self) -> bool:
        return self.run.status in ("KILLED", "LOST")


def part(known: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of a manifest; {} if it is none, or nonsense."""
    found = known.get(name)
    return found if isinstance(found, dict) else {}


def last_command(known: dict[str, Any]) -> dict[str, Any]:
    """Return the command of the last process that a manifest tells of."""
    return part(_last(known), "command")


def _last(known: dict[str, Any]) -> dict[str, Any]:
    again = known.get("resumed")
    last = again[-1] if isinstance(again, list) and again else known
    return last if isinstance(last, dict) else {}


def read(root: Path, run_id: str) -> Original:
    """Return the run with its record, every digest compared.

    Raises NoSuchRun, NoRecord, CannotReplay, RecordDamaged: what is needed is not whole.
    """
    found = read_runs(root, [run_id])
    if not found:
        raise NoSuchRun(run_id, root, 0)
    run = found[0]
    if run.status in ("RUNNING", "SCHEDULED") and run.life is not Life.LOST:
        raise CannotReplay(run_id, "it still goes on", f"runback ps   # then: {_again(run_id)}")
    record = record_of(root, run.listed)
    known = manifest.read(record, run_id)
    _refuse(run_id, known)
    _refuse_below_another(run, known)
    wrong = check.problems(record, run_id, model_folders(run))
    damaged = [text for text in wrong if _is_damage(text)]
    essential = [text for text in damaged if text.startswith(_ESSENTIAL)]
    if essential:
        raise RecordDamaged(run_id, essential)
    is_own = known["store"] == identity.known_id(root)
    return Original(root, run, record, known, code_of(record, known), is_own, damaged)


def model_folders(run: Run) -> dict[str, Path]:
    """Return where the files of the run's logged models lie, of those that are here."""
    found = {}
    for model in run.models:
        try:
            found[model.model_id] = files_of(model)
        except RecordError:
            continue
    return found


def _is_damage(text: str) -> bool:
    # A checkpoint may have been pruned; a run that was killed has no final manifest.
    # What came after the end, or was logged to a server, is compared as it is.
    is_away = text.startswith("model ") and text.endswith("its folder is missing")
    is_more = text.endswith(": is not in the manifest")
    return not (is_away or is_more or text.startswith(("not recorded:", "not final:")))


def _refuse(run_id: str, known: dict[str, Any]) -> None:
    command = last_command(known)
    by = known.get("recorded_by")
    if by != "capture":
        raise CannotReplay(
            run_id,
            f"its record was made afterwards ({by}): it has no code, command or environment",
            f"runback show {run_id[:8]}",
        )
    if command.get("notebook"):
        raise CannotReplay(run_id, "it was run in a notebook, cell by cell, in an unknown order")
    argv = command.get("argv")
    if not (isinstance(argv, list) and argv and all(isinstance(word, str) for word in argv)):
        raise CannotReplay(run_id, "its record has no command")
    texts = [*argv, str(command.get("working_directory")), str(part(known, "code").get("root"))]
    if any("\0" in text for text in texts):
        raise CannotReplay(run_id, "its command has a NUL in it, which no command can have")
    if hidden := command.get("redacted"):
        raise CannotReplay(run_id, f"its command had secrets, which are not kept: {hidden}"[:200])
    last = _last(known)
    if last is not known and last.get("code") not in (None, part(known, "code").get("digest")):
        raise CannotReplay(
            run_id, "it was resumed with other code than it began with, which is not kept"
        )
    size = part(command, "environ").get("WORLD_SIZE", "1")
    if size not in ("", "1"):
        raise CannotReplay(run_id, f"it was one of {size} processes, and they go together")


def _refuse_below_another(run: Run, known: dict[str, Any]) -> None:
    """Raise CannotReplay for a run below one of another process: a replay would write into that."""
    above = read_runs(run.root, [run.tags.get(PARENT_TAG, "")])
    by_variable = "MLFLOW_PARENT_RUN_ID" in part(part(known, "command"), "environ")
    if above and not by_variable and above[0].tags.get(SESSION_TAG) != run.tags.get(SESSION_TAG):
        raise CannotReplay(
            run.id,
            f"its process logged it below run {above[0].short_id}, which another process began",
            f"{_again(above[0].id)}   # if that makes it again",
        )


def _again(run_id: str) -> str:
    return f"runback replay {run_id[:8]}"
