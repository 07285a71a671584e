"""The one exception for bad input, separate so that every layer can raise it.

A `Refusal` is shown to the user as it is, one line per error, and ends a command with exit code 2.
"""


class Refusal(Exception):
    """Bad input. Each line names the offender and what is allowed."""

    def __init__(self, *lines: str):
        self.lines = tuple(line.replace("\n", " ") for line in lines)
        super().__init__("\n".join(self.lines))
