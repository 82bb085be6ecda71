"""What an index did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """What the index did; run ids, but for `wrong`: what cannot be used, with the reason.

    ended: their process is gone. completed: records written from the database.
    edited: changes were noted beside the record. tied: of those, by the commit of the DVC
    experiment that made them. moved: whose location was rewritten.
    purged: removed for good here, and not brought back by their record.
    """

    adopted: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)
    runs: int = 0
