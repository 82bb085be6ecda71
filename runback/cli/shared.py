"""What several verbs take and print alike."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runback.errors import RunbackError
from runback.record.metrics import word
from runback.remote import address
from runback.remote.errors import OnServer
from runback.terminal import printable, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem

    F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 10
PLAIN_NAME = re.compile(r"[\w.@+-]+")
# Deeper, what a stranger's manifest says is cut.
DEEPEST = 50


class RunName(click.ParamType[str]):
    """What names a run: an id, the beginning of one, a name, @latest or @best."""

    name = "run"

    def __init__(self, stage: str = "active") -> None:
        """stage: of the runs that are offered, "active" or "deleted"."""
        self.stage = stage

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return ids with their names, and names with their ids; none where there is no store."""
        from click.shell_completion import CompletionItem

        from runback.store.find import BEST, LATEST, names

        try:
            known = names((ctx.params.get("store") or Path()).absolute(), self.stage)
        except RunbackError:
            return []
        words = [(run_id[:8], printable(name).replace("\n", " ")) for run_id, name in known]
        # A shell takes what is offered as it stands: no name that means something to it.
        words += [(name, run_id[:8]) for run_id, name in known if PLAIN_NAME.fullmatch(name)]
        if self.stage == "active":
            words += [(LATEST, "the newest run"), (BEST, "the best by its primary metric")]
        return [CompletionItem(w, help=text) for w, text in words if w.startswith(incomplete)]


RUN, DELETED_RUN = RunName(), RunName("deleted")


class StoreName(click.ParamType[Path]):
    """What names a store to read: a folder, or the address of a server, which is mirrored."""

    name = "folder|url"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the store's folder, or the mirror's, up to date."""
        found = address.parse(str(value), Path())
        if isinstance(found, str):
            return self._mirror(found, is_completing=bool(ctx and ctx.resilient_parsing))
        if not found.is_dir():
            self.fail(f"there is no folder {found}", param, ctx)
        return found

    def _mirror(self, uri: str, is_completing: bool) -> Path:
        from runback.remote import cache, store

        return cache.folder_of(uri) if is_completing else store.root_of(uri, say)


class OwnStoreName(StoreName):
    """What names a store to change: a folder."""

    name = "folder"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the store's folder. Raises OnServer."""
        from runback.remote import cache

        folder = super().convert(value, param, ctx)
        if cache.is_mirror(folder.absolute()):
            raise OnServer(address.shown(cache.uri_of(folder.absolute())))
        return folder

    def _mirror(self, uri: str, is_completing: bool) -> Path:
        raise OnServer(address.shown(uri))


def _default_store() -> str:
    return str(address.default(os.environ, Path()))


def own_store(given: str | None) -> Path:
    """Return the folder of the store to change, or to read files of. Raises OnServer."""
    return OwnStoreName().convert(given or _default_store(), None, None)


store_option = click.option(
    "--store",
    default=_default_store,
    type=StoreName(),
    show_default=False,
    help="The folder of mlflow.db and mlruns/, or http://HOST:PORT."
    "  [default: this one, or MLFLOW_TRACKING_URI]",
)
own_store_option = click.option(
    "--store",
    default=_default_store,
    type=OwnStoreName(),
    show_default=False,
    help="The folder of mlflow.db and mlruns/.  [default: this one, or MLFLOW_TRACKING_URI]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def quiet_option(text: str) -> Callable[[F], F]:
    """Return the option -q with its help."""
    return click.option("--quiet", "-q", is_flag=True, help=text)


def show_first(heading: str, rows: Sequence[str], rest: str = "", err: bool = False) -> None:
    """Print the first rows, each after the heading, and how many more there are.

    rest: where the others can be read. err: to stderr.
    """
    for row in rows[:SHOWN]:
        click.echo(f"{heading}: {printable(row)}", err=err)
    if len(rows) > SHOWN:
        click.echo(f"{heading}: and {len(rows) - SHOWN} more{rest}", err=err)


def print_json(content: Any) -> None:
    """Print strict JSON: NaN and the infinities as strings; an entry of a list on each line."""
    if isinstance(content, list):
        lines = ",\n".join(_encoded(entry) for entry in content)
        sys.stdout.write(f"[\n{lines}\n]\n" if content else "[]\n")
    else:
        text = json.dumps(strict(content), indent=1, ensure_ascii=False)
        # Names of files that are no UTF-8 are kept as JSON's escapes.
        is_text = text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)
        click.echo(text if is_text else json.dumps(strict(content), indent=1))


def _encoded(entry: Any) -> str:
    try:
        return json.dumps(entry, allow_nan=False)
    except ValueError:
        return json.dumps(strict(entry))


def strict(content: Any, depth: int = 0) -> Any:
    """Return the content with each float that JSON has no number for as a string."""
    if depth > DEEPEST:
        return "…"
    if isinstance(content, float):
        return word(content)
    if isinstance(content, dict):
        return {key: strict(value, depth + 1) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [strict(value, depth + 1) for value in content]
    return content


def is_terminal() -> bool:
    """Say whether a person looks at what is printed: then it is fitted to the width."""
    return sys.stdout.isatty()
