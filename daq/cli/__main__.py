"""`python -m daq.cli`: the `daq` command, for processes that start each other."""

from daq.cli import main

if __name__ == "__main__":
    main()
