"""A finding: one thing of two runs that was compared, or could not be."""

from __future__ import annotations

from dataclasses import dataclass, field

SAME, WITHIN, DIFFERENT = "same", "within tolerance", "different"
MISSING, EXTRA = "missing", "extra"  # in the replay
UNKNOWN = "not compared"  # and nobody may take it for the same
ASIDE = "set aside"  # known to differ each time: a date, a duration

# Details that mean something to those who read findings.
KILLED = "the original was killed before"
NOT_AGAIN = "not run again: the replay began after step {}"

STATUS, PARAMS, METRICS, DATA = "status", "params", "metrics", "data"
LEDGER, CHECKPOINTS, ARTIFACTS = "ledger", "checkpoints", "artifacts"
PARTS = (STATUS, PARAMS, METRICS, DATA, LEDGER, CHECKPOINTS, ARTIFACTS)

Value = str | int | float


@dataclass(frozen=True)
class Finding:
    """What was found of one param, metric, tensor or file.

    part: one of PARTS. name: of the param, metric, file; `file: tensor` of a tensor.
    status: one of those above. count: values that were compared (points, elements,
    bytes). step: the first that differs. recorded, replayed: the values there. ulps: how
    many doubles lie between these two; of a tensor, of its type and at most. largest: the
    largest absolute difference, infinite between infinities, never NaN. recorded, replayed
    and largest are floats as they are: JSON has no word for NaN and infinities, and who writes
    them there has to find one (`record.metrics.word`). differing: how many of `count`
    differ. detail: in words, what the fields do not say: which volatile field was set aside,
    why it could not be compared.
    """

    part: str
    name: str
    status: str
    count: int = 1
    step: int | None = None
    recorded: Value | None = None
    replayed: Value | None = None
    ulps: int | None = None
    largest: float | None = None
    differing: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Divergence:
    """Where two ledgers part first.

    at: "begin", "step" or "epoch". what: "data", "randomness", "arithmetic", or several
    joined by " or " where the ledger cannot tell them apart. names: of the tensors or
    generators that differ there, the first ones. detail: in words, how it is known.
    """

    fit: int
    at: str
    epoch: int
    step: int
    what: str
    names: tuple[str, ...] = ()
    detail: str = ""


@dataclass
class Evidence:
    """All findings of two runs. divergence: None where the ledgers agree or are not there."""

    findings: list[Finding] = field(default_factory=list)
    divergence: Divergence | None = None

    def of(self, *statuses: str) -> list[Finding]:
        """Return the findings with one of these statuses, in order."""
        return [finding for finding in self.findings if finding.status in statuses]
