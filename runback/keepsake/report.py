"""What an import did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """What the import did; run ids in its lists.

    experiments: how many the repository has. checkpoints: how many came with the runs
    imported, or were added to those completed. purged: removed here for good. running:
    not imported, because they go on. without_files: reasons by archive; wrong: by path.
    notes: what MLflow has no place for.
    """

    experiments: int = 0
    checkpoints: int = 0
    imported: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    without_files: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
