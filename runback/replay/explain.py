"""Settle why a replay came out differently: by replaying again, unchanged and without a drift."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runback.evidence.compare import compare
from runback.replay import suspects
from runback.replay.command import LEDGER
from runback.replay.drift import IMAGE, LIBRARY, PACKAGE, PYTHON
from runback.replay.environment import AUTO, HERE, LOCK, is_locked
from runback.replay.judge import side
from runback.replay.plan import plan
from runback.replay.replay import replay
from runback.replay.verdict import IDENTICAL, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runback.evidence.finding import Divergence, Evidence
    from runback.replay.judge import Replay
    from runback.replay.plan import Plan, Wish
    from runback.replay.replay import Tell
    from runback.replay.suspects import Suspect

_OF_ENVIRONMENT = (IMAGE, LIBRARY, PACKAGE, PYTHON)


@dataclass(frozen=True)
class Trial:
    """A replay that was made to find the cause. without: the drift that it had not, "" if none."""

    without: str
    verdict: str
    run_id: str


@dataclass(frozen=True)
class Explanation:
    """What the trials say.

    is_deterministic: whether two replays agree with one another. evidence: where they do
    not, what differs between them. settled: the cause, in words; "" if it was not found.
    """

    is_deterministic: bool
    trials: Sequence[Trial]
    settled: str = ""
    evidence: Evidence | None = None
    suspects: Sequence[Suspect] = field(default_factory=list)

    @property
    def divergence(self) -> Divergence | None:
        """Return where two replays part first."""
        return self.evidence.divergence if self.evidence else None

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        findings = self.evidence.findings if self.evidence else []
        return {
            "is_deterministic": self.is_deterministic,
            "settled": self.settled,
            "trials": [asdict(trial) for trial in self.trials],
            "divergence": asdict(self.divergence) if self.divergence else None,
            "findings": [asdict(finding) for finding in findings],
            "suspects": [asdict(suspect) for suspect in self.suspects],
        }


def explained(done: Replay, tell: Tell) -> Explanation:
    """Replay twice unchanged, with a ledger by step; then without each drift that can be undone.

    Raises what a replay raises.
    """
    wish = done.plan.wish
    by_step = replace(wish, settings={**wish.settings, LEDGER: "step"}, keep=True)
    tell("explaining: the same replay again, twice, with a ledger by step")
    twice = [_again(done.plan, by_step, tell) for _ in range(2)]
    evidence = compare(side(twice[0].run), side(twice[1].run))
    trials = [Trial("", one.verdict, one.run.id) for one in twice]
    said, _ = verdict(evidence)
    if said != IDENTICAL:
        original = done.plan.original
        found = suspects.suspects(done.plan.folder / "code", original.script)
        settled = "the training itself: two replays of it differ from one another"
        return Explanation(False, trials, settled, evidence, found)
    for without, changed in _removals(done):
        tell(f"explaining: the same without {without}")
        trial = _again(done.plan, changed, tell)
        trials.append(Trial(without, trial.verdict, trial.run.id))
        if trial.verdict == IDENTICAL:
            return Explanation(True, trials, without)
    return Explanation(True, trials, _likeliest(done))


def _again(before: Plan, wish: Wish, tell: Tell) -> Replay:
    original = before.original
    planned = plan(original.root, original.id, wish, before.around, before.environ)
    return replay(planned, tell, is_trial=True)


def _removals(done: Replay) -> Iterator[tuple[str, Wish]]:
    """Yield each drift that can be undone, in words, and the replay without it."""
    wish = done.plan.wish
    for name, value in wish.settings.items():
        rest = {key: kept for key, kept in wish.settings.items() if key != name}
        yield f"{name}={value}, which was set for the replay", replace(wish, settings=rest)
    elsewhere = [drift for drift in done.drifts if drift.kind in _OF_ENVIRONMENT]
    if elsewhere and wish.environment == HERE:
        name = "the present environment" if len(elsewhere) > 1 else _named(elsewhere[0])
        yield name, replace(wish, environment=AUTO)
    elif elsewhere and done.plan.environment.kind != LOCK and is_locked(done.plan.original):
        yield "the present environment", replace(wish, environment=LOCK)


def _named(drift: Any) -> str:
    return f"{drift.kind} {drift.name}: {drift.recorded} → {drift.now}"


def _likeliest(done: Replay) -> str:
    """Return the first cause that is outside of the training, which two replays agree on."""
    outside = [cause for cause in done.causes if cause.kind != "suspect"]
    return outside[0].why if outside else ""
