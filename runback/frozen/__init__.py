"""Keep in one folder all that a replay needs, and replay from it."""
