"""``python -m seisprobe``: the command line."""

from seisprobe.cli import main

if __name__ == "__main__":
    main()
