"""The terminal as a person sees it: a command on a terminal of a given size, its screen as text."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import REPOSITORY, plain_environ

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]")


@dataclass(frozen=True)
class Screen:
    """status: of the exit. raw: with colours. text: without, blanks at the ends of lines cut."""

    status: int
    raw: str

    @property
    def text(self) -> str:
        plain = CODES.sub("", self.raw).replace("\r\n", "\n")
        return "".join(f"{line.rstrip()}\n" for line in plain.splitlines())

    @property
    def width(self) -> int:
        return max(map(len, self.text.splitlines()), default=0)


def on_terminal(
    *words: str, cwd: Path, columns: int = 100, lines: int = 40, environ: Mapping[str, str] = {}
) -> Screen:
    """Run `python -m runback WORDS` on a terminal; stderr is on it too."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")
    }
    given = {**kept, "PYTHONPATH": str(REPOSITORY), **environ}
    return run((sys.executable, "-m", "runback", *words), cwd, given, columns, lines)


def run(
    command: Sequence[str],
    cwd: Path,
    environ: Mapping[str, str],
    columns: int = 100,
    lines: int = 40,
) -> Screen:
    """Run a command on a terminal of this size; it is killed after five minutes."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.chdir(cwd)
        os.execvpe(command[0], list(command), {"TERM": "xterm-256color", **environ})
    watch = threading.Timer(300, os.kill, (pid, signal.SIGKILL))
    watch.start()
    output = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the terminal's other end is closed
            break
        if not part:
            break
        output += part
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    watch.cancel()
    watch.join()
    return Screen(status, output.decode())


def loaded(cwd: Path, *words: str) -> set[str]:
    """Return the packages that `runback WORDS` has loaded when it is done."""
    code = (
        "import sys; from runback.cli import runback\n"
        "runback.main(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env=plain_environ(),
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
