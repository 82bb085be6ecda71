"""What makes a training portable, and what it costs: python -m bench.portable [LIBRARY …].

For torch, tensorflow and numpy (with scikit-learn): the bits of a few steps with no switch and
with all, on two threads and, with --emulator qemu-x86_64-static, on other processors; then bits
and processor time of short trainings under each switch, against none, in turn. One process at
a time, one thread unless said otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.portable_training import TRAININGS

# One is Intel's, one is AMD's; both have AVX2 and no AVX-512, which this QEMU cannot do.
PROCESSORS = ("Haswell", "EPYC-Rome")
# numpy's own loops, from AVX-512 down; QEMU 7.2 crashes in its sort with AVX2 (X86_V3).
WIDE = "NPY_DISABLE_CPU_FEATURES=X86_V4 AVX512_ICL AVX512_SPR"
BASELINE = f"{WIDE} X86_V3"
Found = dict[str, Any]


@dataclass(frozen=True)
class Switch:
    """Environment variables, and whether the deterministic kernels are asked for."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    is_deterministic: bool = False


def _variables(*texts: str) -> Switch:
    return Switch(texts[-1], dict(text.split("=", 1) for text in texts))


NONE, DETERMINISTIC = Switch("none"), Switch("deterministic kernels", is_deterministic=True)
ATEN, DNN = "ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2"
ATEN_DEFAULT, MKL, TF_DNN = (
    *("ATEN_CPU_CAPABILITY=default", "MKL_CBWR=COMPATIBLE"),
    "TF_ENABLE_ONEDNN_OPTS=0",
)
BLAS = "OPENBLAS_CORETYPE=Haswell"
SINGLE = {
    "torch": (ATEN, ATEN_DEFAULT, DNN, MKL, "MKL_ENABLE_INSTRUCTIONS=AVX2"),
    "tensorflow": (TF_DNN, DNN),
    "numpy": (BLAS, WIDE, BASELINE),
}
TOGETHER = {"torch": (ATEN, DNN, MKL), "tensorflow": (TF_DNN, DNN), "numpy": (BLAS, BASELINE)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(TRAININGS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--emulator", help="qemu-x86_64-static, or its path")
    arguments = parser.parse_args()
    for library in arguments.libraries or TRAININGS:
        show_classes(library, arguments.emulator)
        show_switches(library, arguments.rounds)


def show_switches(library: str, rounds: int) -> None:
    """Print each switch: whether the bits are those without it, time, which sums change."""
    switches = [NONE, *map(_variables, SINGLE[library])]
    switches += [] if library == "numpy" else [DETERMINISTIC]
    switches.append(together(library))
    found = in_turn([(one.name, lambda one=one: child(library, one)) for one in switches], rounds)
    heading(library, "switch", "sums that change")
    for name, runs in list(found.items())[1:]:
        cells = [cell(runs, found[NONE.name], training) for training in TRAININGS[library]]
        row(name, *cells, ", ".join(changed(runs[0], found[NONE.name][0])) or "none")


def show_classes(library: str, emulator: str | None) -> None:
    """Print whether few steps come to the same bits elsewhere as here on one thread."""
    heading(library, "pinned", "elsewhere", "sums that change")
    for switch in (NONE, together(library)):
        here = child(library, switch, short=True)
        for place, there in elsewhere(library, switch, emulator):
            cells = [same([here, there], training) for training in TRAININGS[library]]
            row(switch.name, *cells, place, ", ".join(changed(there, here)) or "none")


def elsewhere(library: str, switch: Switch, emulator: str | None) -> Iterator[tuple[str, Found]]:
    """Yield what the same steps come to on two threads, and on emulated processors."""
    yield "2 threads", child(library, switch, threads=2, short=True)
    for processor in PROCESSORS if emulator else ():
        words = [str(emulator), "-cpu", processor]
        yield f"{processor}, emulated", child(library, switch, short=True, before=words)


def together(library: str) -> Switch:
    """Return all that a portable training pins."""
    variables = _variables(*TOGETHER[library]).variables
    return Switch("all of them", variables, library != "numpy")


def in_turn(sides: Sequence[tuple[str, Any]], rounds: int) -> dict[str, list[Found]]:
    """Return what each side found in each round; every other round goes backwards."""
    found: dict[str, list[Found]] = {name: [] for name, _ in sides}
    for number in range(rounds):
        for name, run in reversed(sides) if number % 2 else sides:
            found[name].append(run())
    return found


def child(
    library: str,
    switch: Switch,
    threads: int = 1,
    short: bool = False,
    before: Sequence[str] = (),
) -> Found:
    """Run the trainings of a library in a process of their own."""
    counts = ("OMP", "OPENBLAS", "MKL", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
    names = [f"{name}_THREADS" if "TF" in name else f"{name}_NUM_THREADS" for name in counts]
    environ = {**os.environ, **dict.fromkeys(names, str(threads)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environ |= dict([BASELINE.split("=", 1)]) if before else {}
    words = [*before, sys.executable, "-m", "bench.portable_training", library]
    words += ["short"] * short + ["deterministic"] * switch.is_deterministic
    done = subprocess.run(
        words, env={**environ, **switch.variables}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    print(f"{library}, {switch.name}, {threads} {' '.join(before)}", file=sys.stderr)
    return found


def cell(runs: Sequence[Found], base: Sequence[Found], training: str) -> str:
    """Return whether the bits are the same, and the median of the ratios, round by round."""
    ratio = statistics.median(
        one["trainings"][training]["cpu"] / other["trainings"][training]["cpu"]
        for one, other in zip(runs, base, strict=True)
    )
    is_steady = all(same(side, training) == "same" for side in (runs, base))
    bits = same([runs[0], base[0]], training) if is_steady else "not steady"
    return f"{bits}, x{ratio:.2f}"


def same(runs: Sequence[Found], training: str) -> str:
    return "same" if len({run["trainings"][training]["digest"] for run in runs}) == 1 else "other"


def changed(found: Found, base: Found) -> list[str]:
    """Return the fixed sums of the fingerprint that come out otherwise."""
    return [name for name, digest in base["sums"].items() if found["sums"].get(name) != digest]


def heading(library: str, first: str, *last: str) -> None:
    print()
    row(first, *(f"{library} {training}" for training in TRAININGS[library]), *last)
    row(*["---"] * (1 + len(TRAININGS[library]) + len(last)))


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
