"""Say before a replay whether its bits can agree with the record's on this machine at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runback.replay.drift import CPU, DRIVER, GPU
from runback.replay.original import part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runback.replay.drift import Drift
    from runback.replay.original import Original

LIBRARIES = ("torch", "tensorflow", "numpy")
# What changes a sum, and can load nothing: the variables may be a stranger's.
_NUMERIC = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"),
    *("DNNL_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS"),
    *("TF_NUM_INTEROP_THREADS", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG"),
)
_ANSWER_WITHIN_S = 120
# Where this package lies: a probe imports it from there.
OURS = Path(__file__).resolve().parents[2]


def is_another_machine(drifts: Iterable[Drift]) -> bool:
    """Say whether the processor or the GPU is another one than the record's."""
    return any(drift.kind in (CPU, GPU, DRIVER) for drift in drifts)


def libraries(original: Original) -> list[str]:
    """Return the libraries whose sums the record has digests of."""
    known = part(part(original.manifest, "at_end"), "numerics")
    return [name for name in LIBRARIES if any(key.startswith(f"{name}.") for key in known)]


def probe_words(original: Original, python: str) -> list[str]:
    """Return the command that prints the digests of the fixed sums, as JSON.

    -I: neither a folder nor a variable of the record says what it imports.
    """
    threads = part(part(part(original.manifest, "at_end"), "randomness"), "torch").get("threads")
    count = threads if isinstance(threads, int) and threads > 0 else 0
    call = f"probe.numerics({libraries(original)!r}, {count})"
    lines = ("import json, sys", f"sys.path.append({str(OURS)!r})")
    code = "; ".join([*lines, "from runback.replay import probe", f"print(json.dumps({call}))"])
    return [python, "-I", "-c", code]


def numeric(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change a sum, of a replay's."""
    return {name: environ[name] for name in _NUMERIC if name in environ}


def probed(words: Sequence[str], folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the digests here, {} where they cannot be had."""
    try:
        done = subprocess.run(
            list(words),
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_WITHIN_S,
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return {}
    return found if isinstance(found, dict) else {}


def disagreement(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return the sums that come out otherwise here, of those that both have."""
    return sorted(name for name in recorded.keys() & here.keys() if recorded[name] != here[name])


def reason(drifts: Iterable[Drift], sums: Sequence[str], were_taken: bool) -> str:
    """Return in words why bits cannot agree here, "" if they can."""
    if were_taken and not sums:
        return ""
    other = [f"{d.kind} {d.recorded} → {d.now}" for d in drifts if d.kind in (CPU, GPU, DRIVER)]
    how = f"{', '.join(sums)} come out otherwise here" if sums else "whose sums could not be taken"
    return f"another machine ({'; '.join(other)}): {how}" if other else ""
