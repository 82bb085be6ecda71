"""Where a program computes with the time of day, and does not only measure or print it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runback.replay.source import Source

CLOCK = "wall clock"
_CLOCK = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|localtime|gmtime)"
    r"|datetime\.(datetime\.(now|utcnow|today)|date\.today)"
)
_FIELDS = {"second", "minute", "hour", "day", "month", "year", "microsecond", "weekday"}
_TAKING = re.compile(
    r".*(seed|rng|[Rr]andom|Generator).*|int|hash|numpy\.\w+|torch\.(tensor|full)|keras\.ops\..*"
)
_ARITHMETIC = (ast.Mod, ast.Mult, ast.FloorDiv, ast.BitAnd, ast.BitXor, ast.BitOr, ast.RShift)


def clocks(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield each look at the clock whose value goes into a computation, or ends a loop."""
    for name, call in source.calls():
        if _CLOCK.fullmatch(name) and any(
            _is_computed_with(source, use) for use in (call, *_uses(source, call))
        ):
            yield CLOCK, call


def _uses(source: Source, call: ast.Call) -> Iterator[ast.AST]:
    """Yield where the name stands that is given to a look at the clock."""
    statement = source.parents.get(call)
    if not isinstance(statement, ast.Assign):
        return
    names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
    for node in source.nodes():
        if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
            yield node


def _is_computed_with(source: Source, node: ast.AST) -> bool:
    for around in source.above(node):
        if isinstance(around, ast.BinOp):
            if isinstance(around.op, _ARITHMETIC) and not _is_format(around):
                return not _is_duration(node, source)
        elif isinstance(around, ast.Attribute):
            if around.attr in _FIELDS:
                return True
        elif isinstance(around, ast.Call):
            if node is around.func or around.func in source.above(node):
                continue  # time.time().hex(), now().timestamp()
            return bool(_TAKING.fullmatch(source.name(around.func) or _attribute(around.func)))
        elif isinstance(around, ast.keyword):
            if "seed" in (around.arg or "") or around.arg == "random_state":
                return True
        elif isinstance(around, ast.stmt):
            return _decides(around, node, source)
    return False


def _decides(statement: ast.stmt, node: ast.AST, source: Source) -> bool:
    """Say whether a statement ends a loop by the clock, or names a seed."""
    is_tested = any(node in ast.walk(part) for part in _tests(statement))
    if isinstance(statement, ast.While):
        return is_tested
    if isinstance(statement, ast.If):
        return is_tested and any(isinstance(inner, ast.Break) for inner in ast.walk(statement))
    if isinstance(statement, ast.Assign):
        return any("seed" in ast.unparse(target).lower() for target in statement.targets)
    return False


def _tests(statement: ast.stmt) -> list[ast.expr]:
    return [statement.test] if isinstance(statement, ast.While | ast.If) else []


def _is_duration(node: ast.AST, source: Source) -> bool:
    """Say whether a time is subtracted from another: a duration, in whatever unit."""
    around = source.parents.get(node)
    return isinstance(around, ast.BinOp) and isinstance(around.op, ast.Sub)


def _is_format(operation: ast.BinOp) -> bool:
    left = operation.left
    return isinstance(left, ast.Constant) and isinstance(left.value, str)


def _attribute(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ""
