"""`python -m pipeline`: the command line over the stages."""

import sys

try:
    from pipeline.cli import application
except ModuleNotFoundError as error:
    if str(error.name).startswith("pipeline"):
        raise
    sys.exit(f"error: {error.name} is not installed in {sys.executable}; run: source .venv/bin/activate (made by: make setup)")

if __name__ == "__main__":
    application()
