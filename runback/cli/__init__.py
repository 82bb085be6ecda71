"""The command `runback`: a file per verb, each words what its verb returns."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys

import click

from runback import __version__
from runback.errors import RunbackError
from runback.terminal import ended

# Module and function of each verb, imported when asked for; in the order of --help.
VERBS = {
    "ls": "ls:ls",
    "ps": "ps:ps",
    "show": "show:show",
    "diff": "diff:diff",
    "best": "best:best",
    "plot": "plot:plot",
    "scatter": "plot:scatter",
    "checkout": "checkout:checkout",
    "replay": "replay:replay",
    "freeze": "freeze:freeze",
    "open": "open:open_",
    "rm": "rm:rm",
    "restore": "rm:restore",
    "prune": "prune:prune",
    "index": "index:index",
    "verify": "verify:verify",
    "doctor": "doctor:doctor",
    "ui": "ui:ui",
    "import": "importing:import_",
}


class Verbs(click.Group):
    """Finds each verb in a module of its own, so that no verb waits for the others' imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, function = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"runback.cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; say which it may have been if there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, 3)
            if close:
                raise click.UsageError(f"{error.message} Did you mean {close[0]}?", ctx) from None
            raise


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runback")
def runback() -> None:
    """Train in a container, keep every run, run it back."""


def main() -> None:
    """Run the command line; exit with 0 done, 1 different, 2 usage, 3 error."""
    gc.disable()  # a verb is short, and keeps what it makes to its end
    if sys.stdout is None:  # closed by who called us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a terminal that is not UTF-8
    sys.exit(ended(_run))


def _run() -> int:
    try:
        status = runback.main(prog_name="runback", standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (RunbackError, KeyboardInterrupt, OSError, UnicodeEncodeError):
        raise  # worded by `ended`
    except Exception:
        import traceback

        traceback.print_exc()  # a fault of ours; Python's own status, 1, would say "different"
        return RunbackError.exit_status
    return int(status or 0)
