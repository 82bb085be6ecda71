"""What can go wrong where the store is on a server.

ServerError        a tracking server does not answer, or not so
OnServer           a command that changes a store, and this one is on a server
"""

from __future__ import annotations

from runback.errors import StoreError


class ServerError(StoreError):
    def __init__(self, address: str, reason: str, hint: str) -> None:
        super().__init__(f"{address} cannot be read: {reason}", hint)


class OnServer(StoreError):
    def __init__(self, address: str) -> None:
        super().__init__(
            f"this command works on a folder with mlflow.db and mlruns/, and {address} is none",
            "--store FOLDER names one; the runs of a server are changed in MLflow's UI",
        )
