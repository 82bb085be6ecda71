"""What can go wrong where Keepsake's experiments are taken in.

NoKeepsake         no repository of Keepsake where it was looked for
RemoteRepository   a repository of Keepsake that is not on this machine
RepositoryError    a repository of Keepsake that cannot be read
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runback.errors import RunbackError

if TYPE_CHECKING:
    from pathlib import Path


class NoKeepsake(RunbackError):
    def __init__(self, where: Path, looked_for: str) -> None:
        super().__init__(
            f"{where} has no repository of Keepsake: {looked_for}",
            "runback import keepsake FOLDER   # that of repository.json or of keepsake.yaml",
        )


class RemoteRepository(RunbackError):
    def __init__(self, address: str) -> None:
        copy = "aws s3 sync" if address.startswith("s3") else "gcloud storage rsync -r"
        super().__init__(
            f"{address} is not on this machine; a repository is read from a folder",
            f"mkdir keepsake-copy && {copy} '{address}' keepsake-copy "
            "&& runback import keepsake keepsake-copy",
        )


class RepositoryError(RunbackError):
    def __init__(self, where: Path | str, reason: str) -> None:
        super().__init__(f"{where} {reason}", "runback import keepsake FOLDER")
