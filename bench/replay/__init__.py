"""What a replay is measured by: trainings that should replay, and causes that were planted."""
