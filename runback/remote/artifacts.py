"""The artifacts of one run or model, wherever it keeps them: the server, S3, a disk."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.record.files import is_inside
from runback.remote import address
from runback.remote.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the libraries of object stores raise: no credentials, no entry.
_STORAGE = (
    *(("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError")),
    *(("google.auth.exceptions", "GoogleAuthError"), ("azure.core.exceptions", "AzureError")),
    ("google.api_core.exceptions", "GoogleAPIError"),
)


class Artifacts:
    """Files by their paths, with `/`. Each method raises ServerError."""

    def __init__(self, location: str, tracking_uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._location = location
        with self._reading():
            self._repository = get_artifact_repository(location, tracking_uri=tracking_uri)

    def sizes(self, folder: str = "", deep: bool = True) -> dict[str, int]:
        """Return sizes in bytes by path. folder: only there. deep: in folders of it too."""
        found, folders = dict[str, int](), [folder]
        while folders:
            for entry in self._list(folders.pop()):
                if not is_inside(entry.path):
                    continue  # whoever wrote that wants out of the folder
                if not entry.is_dir:
                    found[entry.path] = entry.file_size or 0
                elif deep:
                    folders.append(entry.path)
        return dict(sorted(found.items()))

    def size(self, name: str) -> int | None:
        """Return a file's size, None if there is none."""
        return self.sizes(name.rpartition("/")[0], deep=False).get(name)

    def download(self, name: str, folder: Path) -> Path:
        """Put a file into an empty folder; return where it is."""
        with self._reading():
            return Path(self._repository.download_artifacts(name, dst_path=str(folder)))

    def _list(self, folder: str) -> list[Any]:
        with self._reading():
            return list(self._repository.list_artifacts(folder or None))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        modules = [(sys.modules.get(module), name) for module, name in _STORAGE]
        kinds = [getattr(module, name) for module, name in modules if hasattr(module, name)]
        try:
            yield
        except (MlflowException, OSError, ImportError, *kinds) as error:
            reason = address.shown(" ".join(str(error).split()))[:300]
            raise ServerError(
                f"an artifact in {address.shown(self._location)}", reason, ""
            ) from error
