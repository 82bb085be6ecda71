"""Small trainings, one for each framework; bench.replay.matrix copies them into projects."""
