"""`python -m nexus.cli`: the command line without its console script."""

from nexus.cli.main import main

if __name__ == "__main__":
    main()
