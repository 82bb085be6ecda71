"""Run a recorded run again from its record, and say whether it came out the same."""
