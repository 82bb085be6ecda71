"""The tags by which runs say more than MLflow's tables have columns for."""

from __future__ import annotations

# By which capture finds the runs of its own process.
SESSION_TAG = "runback.session"
# What counts of a run: a metric's name and its goal, `val_loss minimize`.
PRIMARY_TAG = "runback.primary_metric"
# The best value of it so far: JSON with value, step and model_id.
BEST_TAG = "runback.best"
# MLflow's: the run that a nested one is below.
PARENT_TAG = "mlflow.parentRunId"
# What a replay found.
VERDICT_TAG = "runback.verdict"
# Of a run that is a replay: the original's id, and which attempt at it this was.
REPLAY_OF_TAG = "runback.replay_of"
ATTEMPT_TAG = "runback.replay"
# Of a run that was replayed: the id of the latest replay.
REPLAYED_AS_TAG = "runback.replayed_as"
# Of a replay that went on from what the original had: the step after which it began.
FROM_TAG = "runback.replay_from"
# Of a run that a DVC experiment made: the experiment's name, the commit that it was made
# upon, and, once DVC has saved it, the experiment's own commit.
DVC_NAME_TAG = "dvc.exp_name"
DVC_BASELINE_TAG = "dvc.baseline_rev"
DVC_REV_TAG = "dvc.exp_rev"
# The stage of dvc.yaml that it was, with or without an experiment.
DVC_STAGE_TAG = "dvc.stage"
# Of a trial of a search: the study's name, which of its trials it is, and, of one that was
# ended early, after which epoch.
STUDY_TAG = "runback.study"
TRIAL_TAG = "runback.trial"
PRUNED_TAG = "runback.pruned"
# Of a search's own run: the id of the best trial's run, and what it was trained with, as JSON.
BEST_TRIAL_TAG = "runback.best_trial"
BEST_PARAMS_TAG = "runback.best_params"
