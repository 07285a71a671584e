"""Describe arms by verdict: a sentence for each, with a few names or a number of arms."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from pipeline.comparison.verdicts import Verdict
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.labels import distinguishing_settings, lost_words
from pipeline.reporting.units import PRIMARY_METRIC, Metric

BELOW = ", but by less than the margin of {margin}"
VERDICTS = {  # (verdict, below the margin): the words after one arm and after several
    (Verdict.HELPS, False): ("helps", "help"),
    (Verdict.HELPS, True): (f"helps{BELOW}", f"help{BELOW}"),
    (Verdict.HURTS, False): ("hurts", "hurt"),
    (Verdict.HURTS, True): (f"hurts{BELOW}", f"hurt{BELOW}"),
    (Verdict.EQUIVALENT, False): (
        "is equivalent to its {reference} within {margin}",
        "are equivalent to their {reference} within {margin}",
    ),
    (Verdict.INCONCLUSIVE, False): ("is inconclusive", "are inconclusive"),
}
RANKED = (Verdict.HELPS, Verdict.HURTS)  # verdicts whose largest difference is named
IF_OTHER_EXAMPLES = "if test examples are a source of error too"  # verdicts that change, as a limit
BEYOND = "better values may lie beyond those tried"  # a limit
UNTUNED = "an untuned baseline"  # a limit
NOT_ABOVE_MAJORITY = (
    "**The baseline may have learned nothing**: it is not shown to be above the majority class in "
    "validation accuracy, so differences from it say little."
)
NO_HELP = "No arm has been shown to help."
AMONG_BEST = "; among the best, since not shown to differ from it: "
NAMED = 3  # arms of one verdict that are named; more are counted


def verdict_sentences(
    contrasts: pd.DataFrame,
    margin: float,
    formatter: md.Formatter,
    metric: Metric = PRIMARY_METRIC,
    reference: str = "baseline",
    ties: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[str]:
    """Return a sentence for every verdict that an arm has.

    Intervals hold for all arms at once, so that they are true of the arm that is named for its
    estimate.

    An arm that differs from another one by its values alone has its setting beside its name.

    Args:
        contrasts: Columns label, verdict, below_margin, withheld, `LOST_RUNS`, difference, low_all
            and high_all, and `setting` if arms have settings.
        margin: The margin of equivalence, in the units of the metric.
        formatter: The format of differences.
        metric: The metric that is compared.
        reference: What the arms are compared with is called.
        ties: The labels of the arms that are not shown to differ from one that helps, by its label.
    """
    sentences = []
    settings = contrasts["setting"] if "setting" in contrasts else [{}] * len(contrasts)
    contrasts = contrasts.assign(noted=distinguishing_settings(list(settings)))
    judged = contrasts[~contrasts["withheld"].astype(bool)]
    for (verdict, below), words in VERDICTS.items():
        rows = judged[(judged["verdict"] == verdict) & (judged["below_margin"] == below)]
        limit = md.format_margin(margin, metric)
        one, several = (text.format(margin=limit, reference=reference) for text in words)
        names = [_finding(row, formatter, metric) for row in rows_of(rows)]
        if not names:
            continue
        if len(names) <= NAMED:
            sentences.append(f"{md.format_list(names)} {several if len(names) > 1 else one}.")
            continue
        counted = f"{len(rows)} of {md.format_count(len(contrasts), 'arm')} {several}"
        if verdict in RANKED:
            largest = rows.loc[rows["difference"].abs().idxmax()].to_dict()
            counted += f", by the largest estimate {_finding(largest, formatter, metric)}"
            counted += _among_best(ties.get(str(largest["label"]), ()))
        sentences.append(f"{counted}.")
    return [*sentences, *_withheld(contrasts, formatter, metric, reference)]


def _among_best(labels: Sequence[str]) -> str:
    """Return the arms that are not shown to differ from the one with the largest estimate."""
    if not labels:
        return ""
    names = md.format_few([f"**{label}**" for label in labels])
    return f"{AMONG_BEST}{names}"


def limits_sentence(seeds: str, limits: Sequence[str]) -> str:
    """Return what limits the answer.

    Args:
        seeds: The number of seeds, in words.
        limits: The other limits.
    """
    return f"Limits: {'; '.join([seeds, *limits])}."


def joint_intervals(contrasts: int, rows: pd.DataFrame, looks: str = "") -> str:
    """Return the note on the intervals of the answer.

    Args:
        contrasts: For how many contrasts the intervals hold at once.
        rows: These contrasts, with verdict, low_all and high_all.
        looks: For which looks they are corrected.
    """
    ranked = rows[rows["verdict"].isin(RANKED)]
    is_stricter = ((ranked["low_all"] < 0) & (ranked["high_all"] > 0)).any()
    strict = (
        " Verdicts use Holm's correction, which is less strict, so an arm may help or hurt "
        "although its interval here includes 0."
        if is_stricter
        else ""
    )
    return (
        f"Differences are in points of test accuracy. These {md.INTERVAL}s hold for all "
        f"{md.format_count(contrasts, 'comparison')} at once{looks}; those in tables and "
        f"figures hold for one each.{strict}"
    )


def withheld_labels(contrasts: pd.DataFrame) -> list[str]:
    """Return the labels of the arms that a sentence names with their lost runs.

    Args:
        contrasts: As `verdict_sentences` takes them.
    """
    return list(md.first_few(list(contrasts.loc[contrasts["withheld"].astype(bool), "label"])))


def _withheld(
    contrasts: pd.DataFrame, formatter: md.Formatter, metric: Metric, reference: str
) -> list[str]:
    """Return the arms without a verdict because of runs that they or their references lost."""
    rows = rows_of(contrasts[contrasts["withheld"].astype(bool)])
    if not rows:
        return []
    names = [
        f"**{row['label']}** ({lost_words(row, reference)}; without them "
        f"{formatter.joint_change(row, metric)})"
        for row in rows
    ]
    return [
        "Inconclusive by rule, because of unequal numbers of lost (collapsed or diverged) runs: "
        f"{md.format_few(names)}."
    ]


def _finding(row: md.Row, formatter: md.Formatter, metric: Metric) -> str:
    name = f"**{row['label']}**"
    if pd.isna(row["difference"]):
        return f"{name} (no pair of runs)"
    setting = f"{row['noted']}; " if row["noted"] else ""
    return f"{name} ({setting}{formatter.joint_change(row, metric)})"
