"""The tags by which runs say more than MLflow's tables have columns for."""

from __future__ import annotations

# By which capture finds the runs of its own process.
SESSION_TAG = "runback.session"
# What counts of a run: a metric's name and its goal, `val_loss minimize`.
PRIMARY_TAG = "runback.primary_metric"
# The best value of it so far: JSON with value, step and model_id.
BEST_TAG = "runback.best"
# What a replay found.
VERDICT_TAG = "runback.verdict"
