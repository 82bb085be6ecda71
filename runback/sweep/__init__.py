"""Search for better hyperparameters: Optuna proposes, and each trial is a training of its own."""
