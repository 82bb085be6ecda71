"""python -m runback: the same as the command `runback`."""

from runback.cli import main

if __name__ == "__main__":
    main()
