"""Where a program leaves the order of its sums to the machine: threads, kernels, precision."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runback.replay.source import Source

WORKERS, BENCHMARK, TF32, ALGORITHMS, CORES = (
    *("data-loader workers", "cuDNN benchmark", "TF32"),
    *("non-deterministic algorithms", "threads left to the machine"),
)
_CORES = re.compile(r"(os|multiprocessing|psutil|torch\.multiprocessing|joblib)\.cpu_count")
_DETERMINISTIC = re.compile(
    r"torch\.use_deterministic_algorithms|tensorflow\.config\.experimental\.enable_op_determinism"
    r"|runback\.determinism\.seed_\w+"
)
_SEEDED_WORKERS = {"generator", "worker_init_fn"}


def assigned(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield switches that are set to what varies: cudnn.benchmark, TF32."""
    for node in source.nodes():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                name, value = source.name(target), node.value.value
                if name.endswith("cudnn.benchmark") and value is True:
                    yield BENCHMARK, node
                elif (name.endswith("allow_tf32") and value is True) or (
                    name.endswith("fp32_precision") and value == "tf32"
                ):
                    yield TF32, node
                elif name.endswith("deterministic") and value is False:
                    yield ALGORITHMS, node


def called(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield calls that do the same, and counts of the machine's cores."""
    for name, call in source.calls():
        words = {keyword.arg: keyword.value for keyword in call.keywords}
        if name.endswith("set_float32_matmul_precision") and not _is(call.args[:1], "highest"):
            yield TF32, call
        elif name.endswith("Trainer") and _is([words.get("benchmark")], True):
            yield BENCHMARK, call
        elif _switches_off(name, call) or _is([words.get("deterministic")], False):
            yield ALGORITHMS, call
        elif _CORES.fullmatch(name):
            yield CORES, call


def workers(source: Source, are_seeded: bool) -> Iterator[tuple[str, ast.AST]]:
    """Yield data loaders with processes that nobody seeds. are_seeded: by seed_everything."""
    for name, call in source.calls():
        words = {keyword.arg: keyword.value for keyword in call.keywords}
        count = words.get("num_workers")
        has_workers = count is not None and not _is([count], 0)
        if name.split(".")[-1] == "DataLoader" and has_workers:
            yield from [] if are_seeded or _SEEDED_WORKERS & words.keys() else [(WORKERS, call)]


def seeds_workers(sources: Sequence[Source]) -> bool:
    """Say whether Lightning is told to seed the workers."""
    for source in sources:
        for name, call in source.calls():
            words = {keyword.arg: keyword.value for keyword in call.keywords}
            is_told = name.endswith("seed_everything") and _is([words.get("workers")], True)
            if is_told or name == "runback.determinism.seed_lightning":
                return True
    return False


def gpu(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield the first place where a GPU is asked for: its kernels are not deterministic as such."""
    for node in source.nodes():
        is_named = isinstance(node, ast.Constant) and node.value in ("cuda", "cuda:0", "gpu")
        is_moved = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if is_named or (is_moved and node.func.attr == "cuda"):  # type: ignore[attr-defined]
            yield ALGORITHMS, node
            return


def is_deterministic(sources: Sequence[Source]) -> bool:
    """Say whether a program switches the frameworks to deterministic kernels."""
    for source in sources:
        for name, call in source.calls():
            words = {keyword.arg: keyword.value for keyword in call.keywords}
            if _DETERMINISTIC.fullmatch(name) and not _is(call.args[:1], False):
                return True
            if name.endswith("Trainer") and "deterministic" in words:
                return not _is([words["deterministic"]], False)
    return False


def _switches_off(name: str, call: ast.Call) -> bool:
    return name.endswith("use_deterministic_algorithms") and _is(call.args[:1], False)


def _is(values: Sequence[ast.expr | None], wanted: object) -> bool:
    """Say whether the first of these is the constant that is wanted."""
    value = values[0] if values else None
    return (
        isinstance(value, ast.Constant)
        and value.value == wanted
        and type(value.value) is type(wanted)
    )
