"""Say things on the terminal, and end a program the way its user expects.

Standard library only, Python 3.9: the launcher uses it too.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from runback import interrupts
from runback.errors import RunbackError

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
CLOSED_PIPE = 141  # 128 + SIGPIPE


def say(message: str) -> None:
    """Print a sentence about what is going on, to stderr."""
    print(f"runback: {printable(message)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal: names of runs and files come from anywhere."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def report(error: RunbackError) -> int:
    """Print the error and its hint to stderr; return the exit status."""
    print(f"error: {printable(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"hint: {printable(error.hint)}", file=sys.stderr)
    return error.exit_status


def ended(main: Callable[[], int | None]) -> int:
    """Return the exit status of `main()`: errors worded, Ctrl-C and a closed pipe quiet."""
    try:
        with interrupts.heard():
            return main() or 0
    except RunbackError as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return CLOSED_PIPE
    except UnicodeEncodeError as error:
        return report(RunbackError(f"{str(error.object)[:200]!a} is not UTF-8"))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return report(RunbackError(f"{where}{error.strerror or error}"))
