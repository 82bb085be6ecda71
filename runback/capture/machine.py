"""Tell which machine this is: what decides speed, and what decides the last bit of a sum."""

from __future__ import annotations

import csv
import os
import platform
import re
import subprocess
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from runback.launch import kind

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
NVIDIA_SMI_TIMEOUT_S = 5.0
# Instruction sets for which the numeric libraries have kernels of their own.
NUMERIC_FLAGS = re.compile(
    r"avx.*|amx.*|fma4?|f16c|sse4_[12]|.*bf16.*|asimd.*|sve.*|sme|sme2.*|fphp|i8mm"
)
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PROC_BIND", "KMP_AFFINITY", "GOMP_CPU_AFFINITY"),
    *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
LIBRARIES = re.compile(
    r"(libcudart|libcudnn\w*|libcublas\w*|libnccl|libcuda|libmkl\w*|libopenblas\w*"
    r"|libscipy_openblas\w*|libgomp|libiomp5|libtensorflow_framework)[-.].*"
)


def describe() -> dict[str, Any]:
    """Return host, processor, memory, threads and GPUs; fields that nobody tells are left out."""
    facts: dict[str, Any] = {
        "host": os.environ.get("RUNBACK_HOST") or os.uname().nodename,
        "boot_id": _text(PROC / "sys/kernel/random/boot_id") or None,
        "architecture": platform.machine(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "cpu_limit": _cpu_limit(),
        "memory_bytes": _memory(),
        "memory_limit_bytes": _memory_limit(),
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "gpus": _gpus() if kind.has_nvidia_driver() else [],
    }
    return {name: value for name, value in facts.items() if value is not None}


def loaded_libraries() -> dict[str, list[str]]:
    """Return the files of the numeric libraries that this process has loaded, by library.

    Of what lies on the disk, so a version that stands in the name at its end is the
    true one. A library that two packages each brought is there twice.
    """
    found = dict[str, set[str]]()
    for path in mapped():
        if match := LIBRARIES.fullmatch(PurePosixPath(path).name):
            found.setdefault(match[1], set()).add(PurePosixPath(os.path.realpath(path)).name)
    return {name: sorted(found[name]) for name in sorted(found)}


def _processor() -> dict[str, Any] | None:
    """Return model and numeric instruction sets, from the first core's block alone.

    The kernel measures clocks for every core that is read: slow where there are 256.
    """
    try:
        with (PROC / "cpuinfo").open("rb", buffering=0) as file:
            block = file.read(8192).partition(b"\n\n")[0].decode(errors="replace")
    except OSError:
        return None
    fields = [line.partition(":")[::2] for line in block.splitlines()]
    facts = {name.strip(): value.strip() for name, value in fields}
    flags = facts.get("flags", facts.get("Features", "")).split()
    part = f"{facts.get('CPU implementer', '')} {facts.get('CPU part', '')}".strip()
    return {
        "model": facts.get("model name") or part or None,
        "microcode": facts.get("microcode"),
        "flags": sorted(flag for flag in flags if NUMERIC_FLAGS.fullmatch(flag)),
    }


def usable_cores() -> int | None:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _cpu_limit() -> float | None:
    """Return the cores that the control groups grant, the least of this one and those above."""
    limits = [_quota(*_text(folder / "cpu.max").split()[:2]) for folder in _group_folders()]
    old = (_text(CGROUPS / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return min(filter(None, (*limits, _quota(*old))), default=None)


def _quota(quota: str = "", period: str = "") -> float | None:
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None  # "max", or -1: no limit
    return round(int(quota) / int(period), 3)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _memory_limit() -> int | None:
    texts = [_text(folder / "memory.max") for folder in _group_folders()]
    texts.append(_text(CGROUPS / "memory" / "memory.limit_in_bytes"))
    # The old groups say "no limit" as a number near 2**63.
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < 2**60]
    return min(limits, default=None)


def _group_folders() -> list[Path]:
    """Return the folders of this process's control group and of those above it."""
    for line in _text(PROC / "self/cgroup").splitlines():
        if line.startswith("0::/"):
            # In a container the path is often the host's, and only the top is to be seen.
            inner = PurePosixPath(line.removeprefix("0::/"))
            places = [inner, *inner.parents] if ".." not in inner.parts else []
            return [CGROUPS / place for place in places] or [CGROUPS]
    return [CGROUPS]


def _gpus() -> list[dict[str, Any]] | None:
    """Return the GPUs that the driver shows; it is asked in a process of its own.

    Asked in ours, CUDA would open a context and take memory from the training.
    """
    query = "--query-gpu=name,uuid,memory.total,driver_version"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=NVIDIA_SMI_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    text = done.stdout.decode(errors="replace") if done.returncode == 0 else ""
    return [_gpu(row) for row in csv.reader(text.splitlines(), skipinitialspace=True) if row[3:]]


def _gpu(row: list[str]) -> dict[str, Any]:
    name, uuid, memory, driver = row[:4]
    size = re.fullmatch(r"(\d+) MiB", memory)
    memory_bytes = int(size[1]) * 2**20 if size else None
    return {"name": name, "uuid": uuid, "memory_bytes": memory_bytes, "driver": driver}


def mapped() -> Iterator[str]:
    """Yield each file that is mapped into this process, once."""
    seen = set[str]()
    for line in _text(PROC / "self/maps").splitlines():
        path = line[line.find("/") :].removesuffix(" (deleted)") if "/" in line else ""
        if path and path not in seen:
            seen.add(path)
            yield path


def _text(path: Path) -> str:
    """Return a file's text without space around it; "" where there is none."""
    try:
        return path.read_bytes().decode(errors="surrogateescape").strip()
    except OSError:
        return ""
