"""A process at the head of a group of its own: whether it is gone, and signals to its group."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

LOOK_S = 0.05


def is_gone(child: subprocess.Popen[bytes], within_s: float | None) -> bool:
    """Wait for its end, without a limit if None; say whether it came.

    It is not reaped by that, which `child.wait` does: until then its group's number is no
    other's.
    """
    if not hasattr(os, "waitid"):  # macOS
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(within_s)
        return child.returncode is not None
    how = os.WEXITED | os.WNOWAIT | (0 if within_s is None else os.WNOHANG)
    end_s = time.monotonic() + (within_s or 0)
    with contextlib.suppress(ChildProcessError):  # whoever started us ignores SIGCHLD
        while os.waitid(os.P_PID, child.pid, how) is None:
            if time.monotonic() >= end_s:
                return False
            time.sleep(LOOK_S)
    return True


def tell(child: subprocess.Popen[bytes], number: int) -> None:
    """Send its group a signal, unless it was reaped."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if child.returncode is None:
            os.killpg(child.pid, number)
