"""Train in a container, keep every run, run it back."""

__version__ = "0.1.0"
__all__ = ["__version__"]
