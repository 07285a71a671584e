"""Write the gains of ensembles: scores, cost, number of members, confidence, selection."""

from collections.abc import Sequence
from math import isnan

import pandas as pd

from pipeline.comparison.equal_cost import AVERAGE, MIXED
from pipeline.reporting import markdown as md
from pipeline.reporting.pages._gains import NAMES, SCALED, Gain, gain_of, largest_gains

FATES = {  # of a gain in NLL, by the sign of its interval after temperature scaling
    1: "of {} remain",
    0: "of {} are no longer shown (the interval of the scaled difference contains 0)",
    -1: "of {} turn into losses: they gained calibration, which temperature scaling also gives",
}


def methods_of(table: pd.DataFrame, formatter: md.Formatter) -> list[Gain]:
    """Return the methods of one study in the order of the table `equal_cost`."""
    methods: dict[str, dict[str, md.Row]] = {}
    for row in table.to_dict("records"):
        methods.setdefault(row["method"], {})[row["metric"]] = row
    return [Gain(name, rows, formatter) for name, rows in methods.items()]


def with_role(methods: Sequence[Gain], *roles: str) -> list[Gain]:
    """Return the methods with one of these roles in the table `equal_cost`."""
    return [method for method in methods if method.rows["accuracy"]["role"] in roles]


def averaging_gains(methods: Sequence[Gain]) -> str:
    """Return what averaging gains in accuracy and in NLL, and last what mixes arms."""
    gains = with_role(methods, AVERAGE)
    if not gains:
        return ""
    mixed = [method.both() for method in with_role(methods, MIXED)]
    words = largest_gains(gains)
    start = f"**Gain of averaging** over the method it is compared with: {words}"
    if not mixed:
        return start
    return (
        f"{start} Differences that also include the effect of other arms: {md.format_few(mixed)}."
    )


def scaled_gains(methods: Sequence[Gain]) -> str:
    """Return which gains in NLL remain after temperature scaling, vanish, or turn into losses.

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
            parts.append(f"those {words.format(md.format_few(names))}")
    start = "**After temperature scaling**, of the NLL gains whose interval excludes 0"
    return f"{start}: {'; '.join(parts)}." if parts else ""


def cheapest_gains(methods: Sequence[Gain]) -> str:
    """Return the first method, in order of cost, whose interval shows a gain, by metric."""
    averages = with_role(methods, AVERAGE, MIXED)
    parts = []
    for metric, name in NAMES.items():
        improving = [method for method in averages if method.sign(metric) > 0]
        parts.append(f"in {name}, {_priced(improving[0], metric) if improving else 'none'}")
    start = (
        "**Cheapest method (training FLOPs, then passes) with a gain whose interval excludes 0**"
    )
    return f"{start}: {'; '.join(parts)}."


def size_gains(sizes: pd.DataFrame, formatter: md.Formatter) -> str:
    """Return what all members of a method gain over one, and how much of it the second brings."""
    lines = []
    for method, rows in sizes.groupby("method", sort=False):
        most = int(rows["members"].max())
        whole, second = (
            gain_of(str(method), rows[rows["members"] == size], formatter) for size in (most, 2)
        )
        changes = [
            f"{name} {whole.change(metric)}, of which the second member {second.change(metric)}"
            for metric, name in NAMES.items()
        ]
        lines.append(f"  - {method}, 1 to {md.format_count(most, 'member')}: {'; '.join(changes)}.")
    if not lines:
        return ""
    start = (
        "**Number of members**: gain of all members of a method over one. Of independent models, "
        "one is the mean over all single ones; in the table it is the first."
    )
    return "\n".join([start, *lines])


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
    """Return what greedy selection gains on its half of validation, and on the other half."""
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
        "**Greedy selection** chooses models by the NLL on one half of validation; its cost "
        "includes all candidates. Its gain over their plain mean (above 0 is better) is "
        f"{seen} on that half and {unseen} on the other: {words} (difference {more})."
    )


def mean_number(mean: float) -> str:
    """Return a mean number of things: 4, or 6.2."""
    return md.format_number(mean, 0 if mean == round(mean) else 1)


def _priced(method: Gain, metric: str) -> str:
    passes = method.value("forward_passes")
    ending = "" if passes == 1 else "es"
    return (
        f"**{method.name}** ({md.format_ratio(method.value('training_cost'))} x one baseline "
        f"training and {mean_number(passes)} forward pass{ending}; {method.change(metric)})"
    )
