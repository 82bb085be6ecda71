"""One checkpoint on its way into the store: content first, metadata last."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runback.checkpoints import content
from runback.record import checkpoint, files

if TYPE_CHECKING:
    from pathlib import Path

    from runback.checkpoints.content import Draft
    from runback.checkpoints.publish import Publisher
    from runback.record.primary import PrimaryMetric

DRAFT = ".draft"


@dataclass(frozen=True)
class Keeping:
    """A draft whose model is not ready yet. folder: the model's artifacts, None if not of here."""

    publisher: Publisher
    draft: Draft
    step: int
    metrics: dict[str, float]
    primary: PrimaryMetric | None
    model_id: str
    folder: Path | None

    def publish(self) -> None:
        """Put the files where they belong, and then tell MLflow. Raises CheckpointFailed.

        A kill leaves drafts, and at most a model that is not ready.
        """
        try:
            with self.publisher.failing(f"the checkpoint of step {self.step} is not kept"):
                self.publisher.begin(self.model_id, self.draft.source.name, self.step)
                described = self._described()
                if self.folder:
                    self._move_in(self.folder, described)
                else:
                    checkpoint.write(self.draft.folder, described)
                    self.publisher.upload(self.model_id, self.draft.folder)
                self.publisher.log(self.step, self.metrics, self.primary, self.model_id)
        except BaseException:  # Ctrl-C too
            self.publisher.give_up(self.model_id, self.folder)
            raise
        finally:
            self.draft.close()

    def _described(self) -> checkpoint.Checkpoint:
        return checkpoint.Checkpoint(
            run_id=self.publisher.run_id,
            model_id=self.model_id,
            step=self.step,
            path=self.draft.source.name,
            metrics=self.metrics,
            primary_metric=self.primary,
            created_ms=time.time_ns() // 1_000_000,
            files=self.draft.digests(),
        )

    def _move_in(self, folder: Path, described: checkpoint.Checkpoint) -> None:
        draft = folder.with_name(DRAFT)
        draft.mkdir(parents=True)
        checkpoint.write(draft, described)
        content.place(self.publisher.root, self.draft, described.files, draft)
        draft.rename(folder)
        for parent in folder.parents[:2]:
            files.sync_folder(parent)
