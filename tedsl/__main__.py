"""`python -m tedsl`: the command line."""

from tedsl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
