"""Find the DVC project that a folder belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def home(folder: Path) -> Path | None:
    """Return the nearest folder, this one or above, where DVC was set up; None if there is none.

    As DVC looks for it. It may be below the top of its repository (`dvc init --subdir`).
    """
    places = (folder, *folder.parents)
    return next((place for place in places if (place / ".dvc" / "config").is_file()), None)
