"""Run a command in the locked environment: a container, or a virtual environment.

Works before there is an environment: standard library only, Python 3.9 and later.
The way of a command: engine (which one answers) -> image + container, or venv -> inside.
"""
