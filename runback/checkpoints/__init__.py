"""Keep checkpoints while a training runs, over MLflow, and take a run up again."""
