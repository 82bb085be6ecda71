"""A trial's process, on the side of the search: started, listened to, answered, ended.

It is a training like any other, with its values on its command line; what it says goes
over a socket whose other end is open in it (pruning.py). If the search is killed, the
socket closes, and the training ends as if it had been told to.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from runback.group import is_gone, tell
from runback.sweep.pruning import VARIABLE, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# How often it is asked whether a process is gone whose children keep the socket open.
LOOK_S = 0.5
# A training that is told to end writes its record; that takes seconds.
GRACE_S = 30.0
_TAIL_BYTES = 4_096


class Process:
    """The process of a trial. log: what it prints goes there. One thread waits; any may tell it."""

    def __init__(
        self, words: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path
    ) -> None:
        """Start it, in a group of its own, which Ctrl-C does not reach. Raises OSError."""
        self.log = log
        self._lock = threading.RLock()
        self._kill = threading.Timer(GRACE_S, self.kill)
        self._kill.daemon = True
        self._is_told = False
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(LOOK_S)
        try:
            with theirs, log.open("wb") as output:
                self._child = subprocess.Popen(
                    list(words),
                    cwd=folder,
                    env={**environ, VARIABLE: name_of(theirs.fileno())},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
        except BaseException:
            self._ours.close()
            raise

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        """Tell it to end, unless it is gone, and wait for that."""
        self.stop()
        self.wait()
        self._ours.close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what it says, until it is gone or has closed its end."""
        rest = b""
        while (data := self._received()) is not None:
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)

    def _received(self) -> bytes | None:
        # First: what it said last may come after a look at the line.
        was_gone = is_gone(self._child, 0)
        try:
            return self._ours.recv(65_536) or None
        except TimeoutError:
            return None if was_gone else b""
        except ConnectionError:
            return None

    def say(self, **message: Any) -> None:
        """Tell it something; nothing happens if it is gone."""
        with contextlib.suppress(OSError):
            self._ours.sendall(json.dumps(message).encode() + b"\n")

    def wait(self) -> int:
        """Wait for its end, and end what it left behind; return its status, negative for a signal.

        The number of its group can be another's as soon as it is reaped: that comes last.
        """
        is_gone(self._child, None)
        self._kill.cancel()
        with self._lock:
            self._tell(signal.SIGTERM)
            return self._child.wait()

    def stop(self) -> None:
        """Tell it to end, and end it if it does not.

        Once, since a training that is ending takes a second time badly.
        """
        with self._lock:
            if not self._is_told and self._child.returncode is None:
                self._is_told = True
                self._tell(signal.SIGTERM)
                self._kill.start()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._tell(signal.SIGKILL)

    def _tell(self, number: int) -> None:
        with self._lock:
            tell(self._child, number)

    def last_line(self) -> str:
        """Return the last line that it printed, or the error before a hint; "" if there is none."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        errors = [line for line in said if line.startswith("error: ")]
        is_hint = bool(errors) and said[-1].startswith("hint: ")
        return errors[-1] if is_hint else said[-1] if said else ""
