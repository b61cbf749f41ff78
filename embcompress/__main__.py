"""`python -m embcompress` is the `embcompress` command."""

from embcompress.cli import main

if __name__ == "__main__":
    main()
