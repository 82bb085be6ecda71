"""Look for what would hurt later: the traps of DVC's experiments and of YAML that we have seen.

finding: what a check says. dvc: remotes, HEAD. experiments: what they say of their runs.
params: numbers that are texts. doctor: all of them, in order.
"""
