"""The command `runback`: a file per verb, each words what its verb returns."""

from __future__ import annotations

import sys

import click

from runback import __version__
from runback.cli.index import index
from runback.cli.ui import ui
from runback.cli.verify import verify
from runback.terminal import ended


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runback")
def runback() -> None:
    """Train in a container, keep every run, run it back."""


runback.add_command(index)
runback.add_command(ui)
runback.add_command(verify)


def main() -> None:
    """Run the command line; exit with 0 done, 1 different, 2 usage, 3 error."""
    sys.exit(ended(_run))


def _run() -> int:
    try:
        status = runback.main(standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return int(status or 0)
