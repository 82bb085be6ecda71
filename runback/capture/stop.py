"""End the training from the recorder's thread, before it has spent hours without a record."""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import TYPE_CHECKING

from runback.terminal import report

if TYPE_CHECKING:
    from runback.errors import RunbackError


class NotRecorded(SystemExit):
    """Ends the script as SystemExit does: `with` blocks and exit handlers run, no traceback."""

    def __init__(self) -> None:
        super().__init__(3)


def stop_main_thread(error: RunbackError) -> None:
    """Say what is wrong, and raise NotRecorded in the main thread at its next step."""
    report(error)
    sys.stderr.flush()
    main = ctypes.c_ulong(threading.main_thread().ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(NotRecorded))
