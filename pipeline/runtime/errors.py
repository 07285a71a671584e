"""Define the exception for bad input.

A command shows a `Refusal` as it is, one line per error, and ends with exit code 2.
"""


class Refusal(Exception):
    """Bad input. Each line names the file and key at fault and what is expected."""

    def __init__(self, *lines: str):
        self.lines = tuple(line.replace("\n", " ") for line in lines)
        super().__init__("\n".join(self.lines))
