"""Write the recipe: settings to paste, their gain and cost, methods to leave out or to try."""

import json
import re
from collections.abc import Mapping
from math import isinf
from typing import Any

import pandas as pd

from pipeline.comparison.equal_cost import AVERAGE
from pipeline.comparison.levels import LEVEL, POWER
from pipeline.comparison.verdicts import Verdict
from pipeline.config.labels import VIEWS, format_values
from pipeline.config.plan import PROTOCOL, TUNING, Factor, Setting
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._pretrainings import FROM_FRONT, cost_note
from pipeline.reporting.pages._trust import caveats, is_above_majority

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")  # a text that YAML reads as one without quotes
WORDS = {"true", "false", "null", "yes", "no", "on", "off"}  # texts that YAML reads otherwise
AMONG = "not shown to differ from"
BETTER, WORSE = "shown to be better than", "shown to be worse than"
PLACES = (AMONG, BETTER, WORSE)
LEFT_OUT = {Verdict.HURTS: "hurts", Verdict.EQUIVALENT: "makes no difference above the margin"}
FIRST = (
    "First make the baseline learn: it is not shown to be above the majority class. "
    "[Trust checks](#trust-checks) say what to change."
)


def recipe_section(data: ReportData) -> str:
    """Return the choice to use, then the methods to leave out and the steps to try next.

    A baseline that may have learned nothing is the first thing to change, and is not a choice.
    """
    bullets = [_test_time(data), _not_better(data), _left_out(data), *_next(data)]
    lines = md.format_bullets([line for line in bullets if line])
    if data.recipe.empty:
        return md.join_parts(_no_recipe(data), lines)
    chosen = data.recipe.iloc[0].to_dict()
    setting = _primary(data, chosen)["setting"]
    return md.join_parts(
        "" if is_above_majority(data) else FIRST,
        f"Use **{data.named(chosen['study'], chosen['arm'])}**{_with_tuned(data, setting)}:",
        f"```yaml\n{setting_yaml(setting)}\n```",
        _gain(data, chosen),
        lines,
    )


def setting_yaml(setting: Setting) -> str:
    """Return a setting as the arm of a study's file, one line for each change."""
    lines = []
    for part, values in setting.items():
        content = {PROTOCOL: values} if part == PROTOCOL else {"name": part, **values}
        lines.append(f"- {_flow(content)}")
    return "\n".join(lines)


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return json.dumps(value)


def _gain(data: ReportData, chosen: md.Row) -> str:
    return (
        f"It gains {data.format.change(chosen)} of test accuracy. "
        f"{_cost(chosen)}{cost_note(data, FROM_FRONT)} Of the arms that help "
        "and are not shown to be worse than another arm, it is the cheapest to train."
    )


def _cost(chosen: md.Row) -> str:
    """Return the costs of training and of prediction, as multiples of the baseline's operations."""
    ratios = [md.format_ratio(chosen[name]) for name in ("training_ratio", "test_ratio")]
    if ratios == [md.format_ratio(1.0)] * 2:
        return "Training and prediction cost as much as for the baseline."
    return (
        f"Training takes {ratios[0]} times the operations of the baseline, and prediction "
        f"{ratios[1]} times."
    )


def _no_recipe(data: ReportData) -> str:
    """Return that the baseline is the choice, and why arms that help are not."""
    if not is_above_majority(data):
        return f"{FIRST} Until then, no setting is recommended, also not that of the baseline."
    keep = f"Keep the baseline{_with_tuned(data, {})}"
    rows = data.distinct
    helping = rows[(rows["verdict"] == Verdict.HELPS) & ~rows["below_margin"].astype(bool)]
    if helping.empty:
        return (
            f"{keep}: no arm is shown to help by more than the margin of "
            f"{md.format_margin(data.confirmation.margin)}."
        )
    names = md.format_list([f"**{label}**" for label in helping["label"]])
    return (
        f"{keep}. {names} {'helps' if len(helping) == 1 else 'help'}, but a recipe names only an "
        "arm that is compared with the baseline, trains on the same data, and does not start from "
        "a network that has seen more examples of these classes."
    )


def _with_tuned(data: ReportData, setting: Setting) -> str:
    """Return the tuned values of the baseline that a setting does not change."""
    changed = setting.get(PROTOCOL, {})
    tuned = {key: value for key, value in data.confirmation.tuned.items() if key not in changed}
    return f", with the tuned {md.escape(format_values(tuned))}" if tuned else ""


def _test_time(data: ReportData) -> str:
    """Return the gain of averaging at test for the recommended network, if there is any."""
    if data.recipe.empty:
        return ""
    chosen = data.recipe.iloc[0]
    model = data.named(chosen["study"], chosen["arm"])
    method = _best_view(data, (chosen["study"], chosen["arm"]))
    rows = data.equal_cost[
        (data.equal_cost["role"] == AVERAGE) & (data.equal_cost["method"] == f"{method} of {model}")
    ]
    measured = rows[(rows["metric"] == "accuracy") & (rows["difference"] > 0)]
    if measured.empty:
        return ""
    best = measured.iloc[0]
    costs = rows.set_index("metric")["mean"]
    row = {
        "difference": best["difference"],
        "low": best["difference_low"],
        "high": best["difference_high"],
    }
    groups = md.format_count(int(best["pairs"]), "group")
    return (
        f"Averaging at test (**{best['method']}**) changes its test accuracy by "
        f"{data.format.change(row)}, for {md.format_ratio(costs['test_cost'])} times the test "
        f"cost. (Mean over {groups} of models, [{best['study']}](pages/study_{best['study']}.md). "
        "Of the ways to average the predictions of this arm, it has the best validation accuracy. "
        "The gain is not tested.)"
    )


def _best_view(data: ReportData, key: tuple[str, str]) -> str:
    """Return the way of averaging at test that is best on validation examples, by its name."""
    rules = data.rules
    rules = rules[(rules["study"] == key[0]) & (rules["arm"] == key[1])]
    rules = rules[(rules["split"] == "validation") & (rules["metric"] == "accuracy")]
    ordered = rules.sort_values("mean", ascending=False, kind="stable")
    return VIEWS.get(ordered["view"].iloc[0], "") if len(ordered) else ""


def _not_better(data: ReportData) -> str:
    """Return a comparison of the other arms that help with the recommended one."""
    if len(data.recipe) < 2:
        return ""
    chosen = data.recipe.iloc[0]
    key = chosen["study"], chosen["arm"]
    parts: dict[str, list[str]] = {}
    for row in rows_of(data.recipe.iloc[1:]):
        difference = _difference(data.pairs, (row["study"], row["arm"]), key)
        cost = md.format_ratio(row["training_ratio"])
        name = data.named(row["study"], row["arm"])
        shown = f"**{name}** ({data.format.change(difference)}; training cost {cost})"
        parts.setdefault(_place(difference), []).append(shown)
    pairs = md.format_count(len(data.pairs), "pair")
    recommended = f"**{data.named(*key)}**"
    places = [words for words in PLACES if words in parts]
    lines = [
        f"{md.format_list(parts[words])} {'is' if len(parts[words]) == 1 else 'are'} {words} "
        f"{recommended}."
        for words in places
    ]
    return f"{' '.join(lines)} (Holm's correction over {pairs}; intervals not corrected.)"


def _place(difference: md.Row) -> str:
    """Return the relation of an arm to the recommended one, by the test of their difference."""
    if not difference["p_holm"] < LEVEL:
        return AMONG
    return WORSE if difference["difference"] < 0 else BETTER


def _difference(pairs: pd.DataFrame, arm: tuple[str, str], other: tuple[str, str]) -> md.Row:
    """Return the difference of two arms, arm minus other, in either order of the table."""
    for row in rows_of(pairs):
        first, second = (row["study"], row["arm"]), (row["other_study"], row["other"])
        if (first, second) == (arm, other):
            return dict(row)
        if (second, first) == (arm, other):
            turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
            return {**row, **turned}
    raise KeyError((arm, other))


def _left_out(data: ReportData) -> str:
    """Return the arms that hurt or are equivalent, with the conditions of these verdicts.

    The values before tuning are no such arm, and neither is another number of examples.
    """
    sentences = []
    changed = data.distinct[data.distinct["study"] != TUNING]
    for verdict, words in LEFT_OUT.items():
        rows = changed[changed["verdict"] == verdict]
        names = [_conditional(data, row) for row in rows_of(rows) if not _changes_data(data, row)]
        if names:
            sentences.append(f"Leave out what {words}: {md.format_list(names)}.")
    return " ".join(sentences)


def _changes_data(data: ReportData, row: md.Row) -> bool:
    """Return whether an arm differs from its reference in the data, which are no choice."""
    factors = {(study, arm.name): arm.factor for study, arm in data.planned_arms}
    return any(key.startswith("data.") for key in factors[row["study"], row["arm"]].protocol)


def _conditional(data: ReportData, row: md.Row) -> str:
    """Return an arm with its difference and the conditions of its verdict."""
    small = ["by less than the margin"] if row["below_margin"] else []
    conditions = [*small, *caveats(data, row["study"], row["arm"])]
    return f"**{row['label']}** ({'; '.join([data.format.joint_change(row), *conditions])})"


def _next(data: ReportData) -> list[str]:
    """Return the steps to try next: failed checks, two changes together, and more seeds."""
    lines = []
    if data.failed_checks:
        checks = md.format_count(len(data.failed_checks), "check")
        verb = "limits" if len(data.failed_checks) == 1 else "limit"
        lines.append(f"{checks} failed and {verb} this recipe: see [Trust checks](#trust-checks).")
    untried = _untried_pair(data)
    if untried:
        lines.append(f"Not tried yet: {md.format_list(untried)} together.")
    lines.append(_more_seeds(data))
    return lines


def _untried_pair(data: ReportData) -> list[str]:
    """Return the recommended arm and a helping arm that were not tried together; may be empty."""
    keys = [(row["study"], row["arm"]) for row in rows_of(data.recipe)]
    factors = {(study, arm.name): arm.factor for study, arm in data.planned_arms}
    tried = [{*factor.regularizers} for factor in factors.values()]
    for key in keys[1:]:
        best, candidate = factors[keys[0]], factors[key]
        if not _add_different_regularizers(best, candidate):
            continue
        both = {*best.regularizers, *candidate.regularizers}
        if not any(both <= regularizers for regularizers in tried):
            return [f"**{data.named(*keys[0])}**", f"**{data.named(*key)}**"]
    return []


def _add_different_regularizers(first: Factor, second: Factor) -> bool:
    """Return whether both arms change only regularizers, and have none in common."""
    if first.protocol or second.protocol:
        return False
    regularizers, others = {*first.regularizers}, {*second.regularizers}
    return bool(regularizers and others) and regularizers.isdisjoint(others)


def _but_withheld(data: ReportData) -> str:
    """Return the arms without a verdict because of lost runs, as an exception; empty if none."""
    names = data.distinct.loc[data.distinct["withheld"].astype(bool), "label"]
    if names.empty:
        return ""
    return f" (apart from {md.format_list([f'**{name}**' for name in names])}, which lost runs)"


def _more_seeds(data: ReportData) -> str:
    """Return the seeds that would decide the most promising inconclusive arm."""
    rows = data.distinct[
        (data.distinct["verdict"] == Verdict.INCONCLUSIVE)
        & ~data.distinct["withheld"].astype(bool)
        & (data.distinct["difference"] > 0)
    ]
    if rows.empty:
        return ""
    row = rows.loc[rows["difference"].idxmax()].to_dict()
    if isinf(row["seeds_needed"]) or pd.isna(row["seeds_needed"]):
        return ""
    return (
        f"Of the inconclusive arms{_but_withheld(data)}, **{row['label']}** has the largest gain: "
        f"{data.format.joint_change(row)}. If this is its true gain, about "
        f"{md.format_seeds_needed(row, 'seeds')} in all detect it with {100 * POWER:g} % power "
        "after the correction for all contrasts."
    )


def _primary(data: ReportData, chosen: md.Row) -> md.Row:
    rows = data.primary
    mine = rows[(rows["study"] == chosen["study"]) & (rows["arm"] == chosen["arm"])]
    return dict(mine.iloc[0])
