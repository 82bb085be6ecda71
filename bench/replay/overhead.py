"""What a replay costs beside its training: python -m bench.replay.overhead

A short training is recorded once and replayed several times, in the environment that runs
this. The overhead is the time of the whole command without that of the training's process:
reading and checking the record, comparing with now, laying out the code, the verdict.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.replay.matrix import TRAININGS
from bench.replay.project import make

TIMES = 5
AIM_S = 3.0


def main() -> None:
    """Print the median overhead, and its share of the command."""
    with tempfile.TemporaryDirectory() as folder:
        script = "train_torch.py"
        project = make(Path(folder) / "project", {script: (TRAININGS / script).read_text()})
        run_id = project.train(script)
        overheads, wholes = [], []
        for _ in range(TIMES):
            began_s = time.perf_counter()
            said = project.replay(run_id)
            wholes.append(time.perf_counter() - began_s)
            overheads.append(wholes[-1] - said["training_s"])
    overhead, whole = statistics.median(overheads), statistics.median(wholes)
    print(f"overhead {overhead:.2f} s of {whole:.2f} s (aim {AIM_S:.0f} s), median of {TIMES}")


if __name__ == "__main__":
    main()
