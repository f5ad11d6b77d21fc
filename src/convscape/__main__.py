"""`python -m convscape`: the command, where its script is not on the path."""

from convscape.cli import main

if __name__ == "__main__":
    main()
