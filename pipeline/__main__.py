"""The command line over the stages: `python -m pipeline`, and the script `gapwise`."""

import sys

from pipeline.runtime.project import enter_project

ANYWHERE = ("judge", "new")  # commands whose paths are relative to the working directory


def main() -> None:
    """Run the command line; print one line where a library is not installed."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in ANYWHERE:
        enter_project()
    try:
        from pipeline.cli import application
    except ModuleNotFoundError as error:
        if str(error.name).startswith("pipeline"):
            raise
        sys.exit(
            f"error: {error.name} is not installed in {sys.executable}; "
            "run: source .venv/bin/activate (made by: make setup)"
        )
    application()


if __name__ == "__main__":
    main()
