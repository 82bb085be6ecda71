"""The record that travels with a run: its files, how they are written, read and checked."""
