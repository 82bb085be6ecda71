"""Have Ctrl-C and SIGTERM end a program where Python would drop them.

What a signal's handler raises in a destructor or a weak reference's callback is printed and
forgotten (sys.unraisablehook), and the training goes on. TensorFlow has many of them where a
fit begins: there, one Ctrl-C in eleven went unheard (bench.interrupts).

Standard library only, Python 3.9: the launcher uses it too.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN_AFTER_S = 0.05


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Send the signal again when KeyboardInterrupt, or its exit by SIGTERM, was dropped."""
    before = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        number = _signal(dropped.exc_value)
        if number:
            _send_soon(number)
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _signal(dropped: BaseException | None) -> int:
    """Return the signal that meant this; 0 if it is another exception."""
    from signal import SIGINT, SIGTERM

    if isinstance(dropped, KeyboardInterrupt):
        return SIGINT
    is_terminated = isinstance(dropped, SystemExit) and dropped.code == 128 + SIGTERM
    return SIGTERM if is_terminated else 0


def _send_soon(number: int) -> None:
    """Send it to the main thread when the destructor is likely to have ended."""
    import _thread
    import signal
    import threading
    import time

    def send() -> None:
        time.sleep(AGAIN_AFTER_S)
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    # Not threading's: the destructor may have interrupted whoever holds its lock.
    _thread.start_new_thread(send, ())
