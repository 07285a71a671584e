"""`python -m pipeline`, and the script `gapwise`: the command line over the stages."""

import os
import sys


def main() -> None:
    """Runs the command line. One line instead of a traceback where the environment is not the one that was set up."""
    if sys.path[0] != os.getcwd():
        sys.path.insert(
            0, os.getcwd()
        )  # as `python -m` has it: a network of the user's own may lie here
    try:
        from pipeline.cli import application
    except ModuleNotFoundError as error:
        if str(error.name).startswith("pipeline"):
            raise
        sys.exit(
            f"error: {error.name} is not installed in {sys.executable}; run: source .venv/bin/activate (made by: make setup)"
        )
    application()


if __name__ == "__main__":
    main()
