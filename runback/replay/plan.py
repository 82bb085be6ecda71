"""What a replay will do: how, where, with what, and what is otherwise than it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.capture import command as capture_command
from runback.capture import imported, machine, snapshot
from runback.replay import attempt, command, comparable, data, dvc, environment, start
from runback.replay.drifts import drifts
from runback.replay.original import part, read
from runback.runs import stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runback.dvc.datasets import Noted
    from runback.replay.drift import Drift
    from runback.replay.environment import Environment, Surroundings
    from runback.replay.original import Original


@dataclass(frozen=True)
class Wish:
    """What is asked of a replay.

    tolerance, ignore: of the comparison (evidence.side.Wish). from_step: begin at the
    checkpoint of this step. timeout_s: end the training after so long. settings:
    variables to set otherwise than recorded. data: where data lies, by its recorded
    path. environment: one of environment.CHOICES. keep: do not remove the folder of a
    replay that came out identical.
    """

    tolerance: float | None = None
    ignore: tuple[str, ...] = ()
    from_step: int | None = None
    timeout_s: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)
    environment: str = environment.AUTO
    keep: bool = False


@dataclass(frozen=True)
class Plan:
    """A replay before it begins. why_not: why bits cannot agree on this machine, "" if they can.

    data: where each declared path is; digests: what it is. cores: how many of ours it
    may use, None: all. fetched: data that is fetched with DVC first, as it was recorded.
    """

    original: Original
    wish: Wish
    around: Surroundings
    environ: Mapping[str, str]
    environment: Environment
    data: Mapping[str, Path]
    digests: Mapping[str, Any]
    cores: int | None
    drifts: Sequence[Drift]
    why_not: str
    fetched: Mapping[str, Noted]

    @property
    def folder(self) -> Path:
        return attempt.place(self.original)

    @property
    def words(self) -> list[str]:
        """Return the command as it will be run, in the folder that will be made."""
        return command.words(self.original, self.folder / "code", self.environment.python)


def plan(
    root: Path, run_id: str, wish: Wish, around: Surroundings, environ: Mapping[str, str]
) -> Plan:
    """Look at the run and at what is here; nothing is written, built or run.

    environ: the variables of this process. Raises what `original.read` does, DataGone,
    CannotReplay, NoCheckpoint at the step to begin from.
    """
    original = read(root, run_id)
    if wish.from_step is not None:
        stored.chosen(original.run, str(wish.from_step))
    places = data.located(original, wish.data)
    fetched, digests = dvc.planned(original, places, wish.data)
    chosen = environment.choose(original, wish.environment, around)
    found = drifts(original.manifest, _now(original, chosen, digests, environ), is_before=True)
    why_not = ""
    if comparable.is_another_machine(found):
        why_not = _why_not(original, chosen, found, environ)
    cores = part(original.manifest, "machine").get("usable_cores")
    is_count = type(cores) is int and cores > 0
    return Plan(
        *(original, wish, around, environ, chosen, places, digests),
        *(cores if is_count else None, found, why_not, fetched),
    )


def _now(
    original: Original,
    chosen: Environment,
    digests: Mapping[str, Any],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a manifest of now would say, as far as it is known before a run."""
    unset = original.command.get("unset")
    read = {*part(original.command, "environ"), *map(str, unset if isinstance(unset, list) else [])}
    variables = dict(capture_command.variables(environ))
    variables |= {name: environ[name] for name in read & environ.keys()}
    now: dict[str, Any] = {
        "machine": machine.describe(),
        "data": dict(digests),
        "command": {"environ": variables},
    }
    if chosen.facts is not None:
        now["environment"] = dict(chosen.facts)
    project = original.project_here
    if original.is_own and project.is_dir():
        taken = snapshot.take(project)
        now["code"] = snapshot.describe(taken, project)
        known = part(part(original.manifest, "at_end"), "imported")
        now["at_end"] = {"imported": imported.digests(project, known)}
    return now


def _why_not(
    original: Original,
    chosen: Environment,
    found: Sequence[Drift],
    environ: Mapping[str, str],
) -> str:
    """Return why bits cannot agree here, asked of the fixed sums where that can be done now."""
    recorded = part(part(original.manifest, "at_end"), "numerics")
    here: dict[str, str] = {}
    if chosen.is_ready and recorded:
        words = comparable.probe_words(original, chosen.python)
        wanted = command.variables(original, original.root)
        kept = {name: value for name, value in environ.items() if name not in wanted}
        given = {**kept, **comparable.numeric(wanted)}
        ours = comparable.OURS
        line = start.line(chosen, original, ours, words, ours, given, environ)
        here = comparable.probed(line[0], ours, line[1])
    sums = comparable.disagreement(recorded, here)
    return comparable.reason(found, sums, were_taken=bool(here.keys() & recorded.keys()))
