"""The test rules by name: which members of a network are averaged at test.

Separate because both those who make members and those who score them, without torch, have to agree on it.
"""

DETERMINISTIC = "deterministic"
NOISE_PASSES = 12
NOISE = f"noise_{NOISE_PASSES}"  # arithmetic mean of the probabilities of that many noise passes


def members(rule: str) -> int:
    """How many members a rule averages: 1 for `deterministic`, 12 for `noise_12`."""
    number = rule.rpartition("_")[2]
    return int(number) if number.isdigit() else 1
