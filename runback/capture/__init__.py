"""What records a run: loaded by MLflow as a plugin."""
