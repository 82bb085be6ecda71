"""Where a program goes through things in an order that nobody has fixed."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.replay.source import Source

SETS, LISTING, HASH, COMPLETION = (
    *("set order", "unordered file listing"),
    *("hash of a text", "order of completion"),
)
_LISTING = re.compile(r"os\.(listdir|scandir|walk)|glob\.i?glob")
_LISTING_METHODS = {"iterdir", "glob", "rglob"}
_COMPLETION = re.compile(r"(concurrent\.futures|asyncio)\.as_completed")
# What comes to the same in any order; and what only repeats an order.
_ORDERLESS = {"sorted", "set", "frozenset", "len", "any", "all", "min", "max", "isinstance"}
_ORDERED = {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed", "dict"}
_SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
_SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)


def sets(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield where the order of a set is used: it is another for each hash seed."""
    names = _always_sets(source)
    for node in source.nodes():
        for used in _gone_through(source, node):
            if _is_set(source, used, names) and not _is_orderless(source, node):
                yield SETS, used


def listings(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield where files are listed and not sorted: the file system has an order of its own."""
    for name, call in source.calls():
        is_shuffled = name.endswith("Dataset.list_files") and not call.keywords
        if is_shuffled or (_is_listing(name, call) and not _is_sorted(source, call)):
            yield LISTING, call


def hashes(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield hash(), which is another for each hash seed, but in a class's own `__hash__`."""
    for name, call in source.calls():
        around = {getattr(node, "name", "") for node in source.above(call)}
        is_hash = name == "hash" and call.args and not _is_number(call.args[0])
        if is_hash and "__hash__" not in around:
            yield HASH, call


def completions(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield results that are taken as they come."""
    for name, call in source.calls():
        is_pool = isinstance(call.func, ast.Attribute) and call.func.attr == "imap_unordered"
        if is_pool or _COMPLETION.fullmatch(name):
            yield COMPLETION, call


def _is_listing(name: str, call: ast.Call) -> bool:
    function = call.func
    is_method = isinstance(function, ast.Attribute) and function.attr in _LISTING_METHODS
    return bool(_LISTING.fullmatch(name)) or (is_method and not name)


def _is_sorted(source: Source, call: ast.Call) -> bool:
    return _is_orderless(source, call) or _is_sorted_later(source, call)


def _gone_through(source: Source, node: ast.AST) -> list[ast.expr]:
    """Return what a node goes through from its first to its last."""
    if isinstance(node, ast.For | ast.AsyncFor):
        return [node.iter]
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        return [generator.iter for generator in node.generators]
    if isinstance(node, ast.Starred):
        return [node.value]
    if isinstance(node, ast.Call):
        name = source.name(node.func)
        is_join = isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        return node.args if name in _ORDERED or is_join or _is_array(name) else []
    return []


def _is_array(name: str) -> bool:
    return name in ("numpy.array", "numpy.asarray", "numpy.fromiter", "torch.tensor")


def _is_set(source: Source, node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Set):
        return not all(map(_is_number, node.elts))
    if isinstance(node, ast.SetComp):
        return True
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.BinOp) and isinstance(node.op, _SET_OPERATORS):
        return any(_is_set(source, side, names) for side in (node.left, node.right))
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in _SET_METHODS:
        return _is_set(source, node.func.value, names)
    return source.name(node.func) in ("set", "frozenset") and bool(node.args)


def _always_sets(source: Source) -> set[str]:
    """Return the names that this file gives to sets, and to nothing else."""
    given = dict[str, list[ast.expr | None]]()
    for node in source.nodes():
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.For | ast.comprehension):
            targets = [node.target]
        elif isinstance(node, ast.arg):
            given.setdefault(node.arg, []).append(None)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            for name in (inner for inner in ast.walk(target) if isinstance(inner, ast.Name)):
                given.setdefault(name.id, []).append(value if name is target else None)
    none = set[str]()
    return {
        name
        for name, values in given.items()
        if all(value is not None and _is_set(source, value, none) for value in values)
    }


def _is_orderless(source: Source, node: ast.AST) -> bool:
    """Say whether the order of an expression is lost again, around it."""
    for around in source.above(node):
        if isinstance(around, ast.Call) and source.name(around.func) in _ORDERLESS:
            return True
        if isinstance(around, ast.SetComp | ast.stmt):
            return isinstance(around, ast.SetComp)
        if isinstance(around, ast.Compare) and isinstance(around.ops[0], ast.In | ast.NotIn):
            return True
    return False


def _is_sorted_later(source: Source, call: ast.Call) -> bool:
    """Say whether the name that is given to a list is sorted, somewhere in this file."""
    statement = next((n for n in source.above(call) if isinstance(n, ast.stmt)), None)
    if isinstance(statement, ast.For):  # for folder, folders, names in os.walk(…)
        names = {node.id for node in ast.walk(statement.target) if isinstance(node, ast.Name)}
    elif isinstance(statement, ast.Assign):
        names = {node.id for node in statement.targets if isinstance(node, ast.Name)}
    else:
        return False
    for name, other in source.calls():
        used = other.args[:1] if name == "sorted" else []
        if isinstance(other.func, ast.Attribute) and other.func.attr == "sort":
            used = [other.func.value]
        if any(isinstance(one, ast.Name) and one.id in names for one in used):
            return True
    return False


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
