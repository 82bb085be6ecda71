"""A signal that arrives in a destructor ends the program all the same."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from conftest import REPOSITORY, plain_environ
from processes import Started

PROGRAM = """
import signal, sys, time
from runback.terminal import ended

signal.signal(signal.SIGTERM, lambda *given: sys.exit(143))

class Held:
    def __del__(self):
        print("in the destructor", flush=True)
        time.sleep(60)

def main():
    Held()
    print("went on", flush=True)
    time.sleep(10)

sys.exit(ended(main))
"""


@pytest.mark.parametrize(
    ("number", "status", "said"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")]
)
def test_heard_in_a_destructor(number: signal.Signals, status: int, said: str) -> None:
    process = Started(
        [sys.executable, "-c", PROGRAM],
        env=plain_environ(PYTHONPATH=str(REPOSITORY)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in the destructor\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, out, err) == (status, "went on\n", said)


OTHERS = """
import sys
from runback.terminal import ended

class Wrong:
    def __init__(self, raised):
        self.raised = raised

    def __del__(self):
        raise self.raised

def main():
    for raised in (ValueError("a bug"), SystemExit(3)):
        Wrong(raised)
    print("went on")

before = sys.unraisablehook
status = ended(main)
assert sys.unraisablehook is before
sys.exit(status)
"""


def test_what_else_a_destructor_raises_is_shown_as_ever() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OTHERS],
        env=plain_environ(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert done.stderr.count("Exception ignored in") == 2
    assert "ValueError: a bug" in done.stderr
