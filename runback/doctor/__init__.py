"""Look for what would hurt later: the traps of DVC's experiments and of YAML that we have seen.

finding: what a check says. remotes: where a push would go (settings: DVC's own). head: git's.
experiments: what they say of their runs. params: numbers that are texts. doctor: all, in order.
"""
