"""The file of a study, and the lock by which one process at a time has it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from runback.sweep.errors import StudyDiffers, StudyGoesOn, StudyUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import optuna

    from runback.sweep.design import Design

_TERMS = "terms"
_BUSY_S = 60.0


@contextlib.contextmanager
def locked(folder: Path, design: Design) -> Iterator[None]:
    """Hold a study's folder, made if missing. Raises StudyGoesOn."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyGoesOn(design.name, folder / "lock") from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Have what Optuna or SQLite refuses raised as StudyUnreadable."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError) as error:
        raise StudyUnreadable(path, str(error.__cause__ or error).split("\n")[0]) from error


def loaded(path: Path, design: Design) -> optuna.Study:
    """Return the study in a file, made if missing. Raises StudyDiffers: its terms are others."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wait = {"connect_args": {"timeout": _BUSY_S}}
    study = optuna.create_study(
        storage=optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=wait),
        study_name=design.name,
        direction=optuna.study.StudyDirection[design.direction.upper()],
        pruner=design.pruner,
        load_if_exists=True,
    )
    known = study.user_attrs.get(_TERMS)
    if known is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_TERMS, design.terms)
    elif differences := design.differences(known or {}):
        raise StudyDiffers(design.name, differences)
    return study
