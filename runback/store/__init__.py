"""The tracking store: MLflow's SQLite database beside `mlruns/`."""
