"""A repository of Keepsake, format 1: read as a stranger's, and written as records of runs."""
