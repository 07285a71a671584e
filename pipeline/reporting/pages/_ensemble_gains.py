"""Write the gains of ensembles: scores, cost, number of members, confidence, selection."""

from collections.abc import Sequence
from math import isnan

import pandas as pd

from pipeline.comparison.equal_cost import AVERAGE, SINGLE
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.pages._gains import SCALED, Gain, gain_of

FATES = {  # of a gain in NLL, by the sign of its interval after temperature scaling
    1: "remains for {}",
    0: "has an interval that includes 0 for {}",
    -1: "is a loss for {}, because it was a gain in calibration, which scaling gives too",
}


def methods_of(table: pd.DataFrame, formatter: md.Formatter) -> list[Gain]:
    """Return the methods of one study in the order of the table `equal_cost`."""
    methods: dict[str, dict[str, md.Row]] = {}
    for row in rows_of(table):
        methods.setdefault(row["method"], {})[row["metric"]] = row
    return [Gain(name, rows, formatter) for name, rows in methods.items()]


def with_role(methods: Sequence[Gain], *roles: str) -> list[Gain]:
    """Return the methods with one of these roles in the table `equal_cost`."""
    return [method for method in methods if method.rows["accuracy"]["role"] in roles]


def efficient(methods: Sequence[Gain], formatter: md.Formatter) -> list[Gain]:
    """Return the methods with the best accuracy for their cost, by cost.

    Of methods with the same printed accuracy, only the cheapest is returned.
    """
    cheapest: dict[str, Gain] = {}
    for method in methods:
        if method.rows["accuracy"]["efficient"]:
            cheapest.setdefault(formatter.score("accuracy", method.value("accuracy")), method)
    return list(cheapest.values())


def efficient_methods(methods: Sequence[Gain], formatter: md.Formatter) -> str:
    """Return a line for every efficient method."""
    lines = []
    for method in efficient(methods, formatter):
        gain = "" if method.rows["accuracy"]["role"] == SINGLE else f"; {_against(method)}"
        lines.append(
            f"  - **{method.name}**: {formatter.score('accuracy', method.value('accuracy'))} % "
            f"accuracy, training cost {md.format_ratio(method.value('training_cost'))}, test cost "
            f"{md.format_ratio(method.value('test_cost'))}{gain}."
        )
    start = (
        "**Efficient methods** (not tested for significance): every other method is less "
        "accurate, or costs more for training or at test. Of methods with equal accuracies, only "
        "the cheapest is listed:"
    )
    return "\n".join([start, *lines])


def scaled_gains(methods: Sequence[Gain]) -> str:
    """Return the gains in NLL that remain after temperature scaling, vanish or become losses.

    NLL before it is not comparable: Ashukha, Lyzhov, Molchanov and Vetrov, ICLR 2020.
    """
    gains = [
        gain
        for gain in with_role(methods, AVERAGE)
        if gain.sign("nll") > 0 and not isnan(gain.value(SCALED, "difference_low"))
    ]
    parts = []
    for sign, words in FATES.items():
        names = [f"**{gain.name}**" for gain in gains if gain.sign(SCALED) == sign]
        if names:
            parts.append(words.format(md.format_few(names)))
    start = (
        "**Temperature scaling** removes gains in NLL that are only better calibration. "
        "Some methods that average models or passes of one arm have a gain before scaling. "
        "After scaling, it"
    )
    return f"{start} {'; it '.join(parts)}. (By uncorrected intervals.)" if parts else ""


def size_gains(sizes: pd.DataFrame, formatter: md.Formatter) -> str:
    """Return the gain of all members of a method over one member, and the gain of two members."""
    parts = []
    for method, rows in sizes.groupby("method", sort=False):
        most = int(rows["members"].max())
        whole, second = (
            gain_of(str(method), rows[rows["members"] == size], formatter) for size in (most, 2)
        )
        parts.append(
            f"{method} {second.change('accuracy')} with 2 members, {whole.change('accuracy')} with "
            f"{most}"
        )
    if not parts:
        return ""
    note = (
        "One member is the last snapshot or checkpoint, or the mean over single independent "
        "models. (Tables compare with the first independent model.)"
    )
    gains = "; ".join(parts)
    return f"**More members**, difference in accuracy from one member: {gains}. {note}"


def overconfidence(methods: Sequence[Gain], shown: Sequence[str], formatter: md.Formatter) -> str:
    """Return mean confidence minus accuracy of the methods `shown`: above 0 is overconfident."""
    by_name = {method.name: method.rows.get("overconfidence", {}) for method in methods}
    parts = []
    for name in shown:
        row = by_name.get(name)
        if row:
            interval = formatter.points_interval(row["low"], row["high"])
            parts.append(f"{name} {formatter.points(row['mean'])} {interval}".strip())
    if not parts:
        return ""
    return f"**Confidence minus accuracy**, in points (above 0: overconfident): {', '.join(parts)}."


def optimism(methods: Sequence[Gain]) -> str:
    """Return the gain of greedy selection on its half of validation, and on the other half."""
    greedy = next((method for method in methods if "optimism" in method.rows), None)
    if greedy is None:
        return ""
    names = ("nll_gain_selecting", "nll_gain_held_out", "optimism")
    rows = [{**greedy.rows[name], "difference": greedy.value(name)} for name in names]
    seen, unseen, more = (greedy.format.change(row, "nll") for row in rows)
    low, middle = (greedy.format.sign("nll", rows[-1][side]) for side in ("low", "difference"))
    if low > 0:
        words = "selection overfits its half"
    elif middle > 0:
        words = "no clear sign that selection overfits its half"
    else:
        words = "no sign that selection overfits its half"
    return (
        "**Greedy selection** adds models to the mean one by one, by the NLL on one half of the "
        "validation examples. Its training cost includes all candidates (the baseline models and "
        "one model of every arm), its test cost only those chosen. Its gain in NLL over the mean "
        f"of all candidates (above 0 is better) is {seen} on this half and {unseen} on the other "
        f"half: {words} (difference {more})."
    )


def _against(method: Gain) -> str:
    """Return the gain of a method over its reference."""
    return f"{method.change('accuracy')} over {method.rows['accuracy']['against']}"
