"""`python -m nightspot` is the command `nightspot`."""

from nightspot.cli import main

if __name__ == "__main__":
    main()
