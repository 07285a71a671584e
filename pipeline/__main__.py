"""The command line over the stages: `python -m pipeline`, and the script `gapwise`."""

import sys

from pipeline.runtime.project import enter_project

ELSEWHERE = ["judge"], ["new"]  # commands whose files may be anywhere, and are named from here


def main() -> None:
    """Run the command line; print one line where a library is not installed."""
    if sys.argv[1:2] not in ELSEWHERE:
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
