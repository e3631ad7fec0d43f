"""``python -m tune_app.cli``: the command line, for child processes that must use this very Python."""

from tune_app.cli import main

if __name__ == "__main__":
    main()
