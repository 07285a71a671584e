"""Define the families of methods, by which figures color arms."""

from collections.abc import Iterable
from typing import Literal

Family = Literal[
    "noise",
    "examples",
    "penalty",
    "architecture",
    "training",
    "data size",
    "combination",
    "other",
    "transfer",
]
OF_SECTIONS: dict[str, Family] = {
    "model": "architecture",
    "training": "training",
    "data": "data size",
    "start": "transfer",
}


def family_of(regularizers: Iterable[Family], protocol: Iterable[str]) -> Family:
    """Return the family of the changes of an arm, or combination if they have several.

    Args:
        regularizers: The families of the regularizers that it adds.
        protocol: The dotted keys of the protocol values that it changes.
    """
    families = set(regularizers)
    families |= {OF_SECTIONS.get(key.partition(".")[0], "other") for key in protocol}
    if len(families) > 1:
        return "combination"
    return families.pop() if families else "other"
