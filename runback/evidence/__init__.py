"""Compare two recorded runs, part by part, and say what was compared."""
