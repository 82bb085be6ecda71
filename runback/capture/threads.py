"""Ask the numeric libraries that are loaded how many threads they use."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from runback.capture import machine

LIBRARY = re.compile(r"lib(openblas|scipy_openblas|mkl_rt|blis|gomp|iomp5|omp)[-_.0-9].*")
FUNCTIONS = {
    "openblas": ("openblas_get_num_threads", "openblas_get_num_threads64_"),
    "scipy_openblas": ("scipy_openblas_get_num_threads", "scipy_openblas_get_num_threads64_"),
    "mkl_rt": ("MKL_Get_Max_Threads",),
    "blis": ("bli_thread_get_num_threads",),
    "gomp": ("omp_get_max_threads",),
    "iomp5": ("omp_get_max_threads",),
    "omp": ("omp_get_max_threads",),
}


def counts() -> dict[str, int]:
    """Return the number of threads by file of a loaded library; nothing is loaded for it.

    Of OpenMP's what a new thread is given, not what a training has set for its own.
    """
    found = dict[str, int]()
    for path in machine.mapped():
        name = PurePosixPath(path).name
        if (match := LIBRARY.fullmatch(name)) and (count := _count(path, FUNCTIONS[match[1]])):
            found[name] = count
    return dict(sorted(found.items()))


def _count(path: str, functions: tuple[str, ...]) -> int | None:
    import ctypes

    try:
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (OSError, AttributeError):
        return None
    for name in functions:
        if function := getattr(library, name, None):
            return int(function())
    return None
