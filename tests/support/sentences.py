"""The names and numbers in sentences of a report, so that tests need not repeat the words."""

import re


def bold(text: str) -> list[str]:
    """Return the names in bold, in order."""
    return re.findall(r"\*\*(\w+)\*\*", text)


def numbers(text: str) -> list[str]:
    """Return the numbers as they are printed, in order."""
    return re.findall(r"[+-]?\d+(?:\.\d+)?", text.replace("\u00a0", " "))


def lost_runs(text: str) -> list[tuple[int, int, dict[str, int]]]:
    """Return (runs not done, planned runs, runs not done by state) for each sentence about them."""
    sentences = re.findall(r"(\d+) of (\d+) runs not done: (.*?)\.", text)
    return [
        (
            int(lost),
            int(planned),
            {state: int(n) for n, state in re.findall(r"(\d+) (\w+)", states)},
        )
        for lost, planned, states in sentences
    ]
