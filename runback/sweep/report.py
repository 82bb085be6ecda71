"""What a search has found: as CSV, and as Optuna's pictures."""

from __future__ import annotations

import csv
import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from runback.sweep.study import Study

# Optuna's function, by the name that the picture gets.
_PICTURES = {
    "history": "plot_optimization_history",
    "epochs": "plot_intermediate_values",
    "importances": "plot_param_importances",
    "parallel": "plot_parallel_coordinate",
    "slices": "plot_slice",
}


def as_csv(study: Study) -> str:
    """Return a line for each trial; the same search gives the same lines: no ids, no times."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", study.design.metric, "epochs", *study.design.space])
    for result in study.results():
        value = "" if result.value is None else repr(result.value)
        values = [result.values.get(name, "") for name in study.design.space]
        rows.writerow([result.place, result.state, value, result.epochs, *values])
    return text.getvalue()


def pictures(study: Study) -> Iterator[tuple[str, Figure]]:
    """Yield names and figures, as Optuna draws them; none of what too few trials can tell."""
    import matplotlib
    import numpy as np
    from optuna import visualization
    from optuna.exceptions import ExperimentalWarning

    matplotlib.use("Agg")  # a window helps nobody here
    drawn = study.without_repetitions()
    for name, function in _PICTURES.items():
        named = {} if name == "epochs" else {"target_name": study.design.metric}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                axes = getattr(visualization.matplotlib, function)(drawn, **named)
            except (ValueError, RuntimeError):
                continue  # the importances, of one trial
        yield name, np.ravel(axes)[0].figure
