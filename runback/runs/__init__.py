"""Read the runs of a store: list, show, compare, check out, draw. MLflow is not imported."""
