"""`python -m pipeline`: the command line over the stages."""

from pipeline.cli import application

if __name__ == "__main__":
    application()
