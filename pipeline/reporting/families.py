"""Define the families of methods, and when figures color arms by family."""

from collections import Counter

from pipeline.config.families import Family
from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import format_list

MOST_SHADES = 3  # of the color of a family, for its arms in one study
MEANINGS: dict[Family, str] = {
    "noise": "noise in training",
    "examples": "changed images or labels",
    "penalty": "a penalty or a limit on weights",
    "architecture": "other layers",
    "training": "another way to train",
    "data size": "other training data",
    "combination": "changes of several families",
    "other": "changes of another kind",
    "transfer": "weights of another network",
}


def colored_families(data: ReportData) -> list[Family]:
    """Return the families whose colors the arms of a report have, in the order of `MEANINGS`.

    They are none where all arms are of one family, or where a study has more arms of one family
    than there are shades of its color: each arm has a color of its own then.
    """
    arms = [(study, arm.family) for study, arm in data.planned_arms if arm.name != BASELINE]
    present = {family for _, family in arms}
    most = max(Counter(arms).values(), default=0)
    if len(present) < 2 or most > MOST_SHADES:
        return []
    return [family for family in MEANINGS if family in present]


def family_note(data: ReportData) -> str:
    """Return the meaning of the colors of arms in figures; empty if each arm has its own."""
    families = colored_families(data)
    if not families:
        return ""
    meanings = format_list([f"{family} ({MEANINGS[family]})" for family in families])
    return f"*In figures, arms have the color of their family of methods: {meanings}.*"
