"""What run_script.bash adds to the command it runs: python -m bench.launcher [RUNS]"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from bench.side_by_side import side_by_side
from runback.launch import engine, image

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    script = [str(ROOT / "run_script.bash"), "true"]
    fallback = {**os.environ, "RUNBACK_ENGINE": "venv"}
    print(
        "fallback, against the bare command:", side_by_side(script, ["true"], ROOT, runs, fallback)
    )
    found = engine.find("docker")
    if not isinstance(found, engine.Engine):
        print(f"container: not measured, {found}")
        return
    build_args = shlex.split(os.environ.get("RUNBACK_BUILD_ARGS", ""))
    extra = shlex.split(os.environ.get("RUNBACK_ENGINE_ARGS", ""))
    mount = f"type=bind,source={ROOT},target={ROOT}"
    bare = [found.program, "run", "--rm", "--mount", mount, "--workdir", str(ROOT), *extra]
    bare += [image.tag(ROOT, build_args), "true"]
    print("container, against the bare docker run:", side_by_side(script, bare, ROOT, runs))


if __name__ == "__main__":
    main()
