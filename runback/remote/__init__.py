"""Stores that are no folder of this machine, read through MLflow's client into one that is."""
