"""Write the page of transfer: what to train of a pretrained network, by source and by size."""

from collections.abc import Iterator, Sequence
from math import inf

import pandas as pd

from pipeline.comparison.levels import LEVEL
from pipeline.comparison.transfer import (
    FINE_TUNING,
    HEAD_THEN_ALL,
    OWN_WEIGHTS,
    PROBE,
    RESAMPLES,
    SCRATCH,
)
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import verdict_cell
from pipeline.reporting.pages._looks import weight_note
from pipeline.reporting.pages._page import COMPLETED, MEAN_INTERVAL, Page
from pipeline.reporting.pages._pretrainings import pretraining_sentence
from pipeline.reporting.pages._transfer import (
    MODES,
    has_starts,
    is_against_scratch,
    series,
    size_figure,
    size_name,
    size_of,
    started,
)

ORDER = 35
DIFFERENCE = f"{md.CONFIDENCE} Student-t interval of the mean difference, paired by seed"
LEADS = "Fine-tuning against the probe"
LEADERS = ("fine-tuning", "the probe")
COVERED = {8: 88, 24: 93}  # seeds -> % of crossovers in their interval, of normal differences
TRAINED = {
    SCRATCH: "everything",
    PROBE: "head",
    FINE_TUNING: "everything",
    HEAD_THEN_ALL: "head, then everything",
}


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if an arm starts from trained weights."""
    if has_starts(data):
        yield Page("transfer", "Transfer", transfer_body(data))


def transfer_body(data: ReportData) -> str:
    """Return everything about starts from trained weights."""
    return md.join_parts(
        "# Transfer",
        "A probe trains a new head on frozen features; fine-tuning trains every layer. Training "
        f"from scratch starts from random weights. {study_links(data)}",
        pretraining_sentence(data),
        md.section("Scratch, probe and fine-tuning, by size and source", grid(data)),
        md.section(LEADS, lead_section(data)),
        md.section("Accuracy by size", size_section(data)),
        md.section("Gain with little data and with more", gain_table(data)),
        md.section("All arms", arm_table(data)),
        md.section("Cost of training", cost_table(data)),
    )


def study_links(data: ReportData) -> str:
    """Return where each study with arms that start from trained weights is described."""
    studies = dict.fromkeys(started(data.transfer)["study"])
    links = md.format_list([f"[{name}](study_{name}.md)" for name in studies])
    return f"Studies: {links}."


def grid(data: ReportData) -> str:
    """Return sizes against pretrainings with the gains over scratch; empty for a single size."""
    lines = {key: rows for key, rows in series(data).items() if key[1] != SCRATCH}
    sources = list(dict.fromkeys(source for source, _ in lines))
    cells: dict[int, dict[str, list[md.Row]]] = {}
    compared: set[tuple[str, str]] = set()
    for (source, _), rows in lines.items():
        for row in rows:
            if is_against_scratch(data, row) and pd.notna(row["difference"]):
                cells.setdefault(size_of(row), {}).setdefault(source, []).append(row)
                compared.add((row["study"], row["arm"]))
    table = [
        {size_name(data): f"{size:,}"}
        | {source: _best(data, cells[size].get(source, [])) for source in sources}
        for size in sorted(cells)
    ]
    if not table:
        return ""
    caption = (
        "Difference in test accuracy from training from scratch with as many images, in points. "
        "Bold: the highest mean of scratch, a plain probe and plain fine-tuning; this is not a "
        f"verdict. {_lead_link(data)}{_not_compared(data, compared)}Verdict: corrected for all "
        f"contrasts of the report. Interval: {DIFFERENCE}, not corrected."
    )
    return md.format_table(table, caption, words=sources)


def _lead_link(data: ReportData) -> str:
    """Return where the two modes of the grid are tested against each other."""
    if data.transfer_leads.empty:
        return ""
    return f"Fine-tuning and probe are [compared below](#{LEADS.lower().replace(' ', '-')}). "


def _not_compared(data: ReportData, compared: set[tuple[str, str]]) -> str:
    """Return the number of arms with a start that a table leaves out, and their place."""
    left = [
        row
        for row in _distinct(data)
        if row["train"] != SCRATCH and (row["study"], row["arm"]) not in compared
    ]
    if not left:
        return ""
    arms, are = md.format_count(len(left), "arm"), "is" if len(left) == 1 else "are"
    return f"{arms} with another start or other training {are} left out ([all arms](#all-arms)). "


def _best(data: ReportData, rows: Sequence[md.Row]) -> str:
    """Return a cell of the grid: the modes with their differences, the best first."""
    ordered = sorted(rows, key=lambda row: -row["difference"])
    parts = [
        f"{MODES[row['train']]} {md.unbroken(data.format.change(row, unit=''))} {verdict_cell(row)}"
        for row in ordered
    ]
    if not parts:
        return md.VOID
    if ordered[0]["difference"] < 0:
        return "; ".join(["**scratch**", *parts])
    name, _, rest = parts[0].partition(" ")
    return "; ".join([f"**{name}** {rest}", *parts[1:]])


def lead_section(data: ReportData) -> str:
    """Return fine-tuning minus probe at every size, and how that changes with the size."""
    rows = rows_of(data.transfer_leads)
    if not rows:
        return ""
    lines = [_lead_sentence(data, rows, source) for source in data.transfer_leads["pretraining"]]
    return md.join_parts(md.format_bullets([*dict.fromkeys(lines)]), _lead_table(data, rows))


def _lead_table(data: ReportData, rows: Sequence[md.Row]) -> str:
    table = [
        {
            "from": md.escape(row["pretraining"]),
            size_name(data): _lead_sizes(row),
            f"fine-tuning minus probe [{md.INTERVAL}]": md.unbroken(
                data.format.change(row, unit="")
            ),
            "n": str(row["n"]),
            "p": md.format_p(row["p"]),
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows
    ]
    shown, same = md.without_constant(table, ("n",))
    changes = (
        "A row of two sizes has the difference at the first size minus that at the second. These "
        "are the largest and the smallest size that all sources with several sizes have in common. "
        "If there are no two such sizes, they are the largest and the smallest of each source. "
    )
    caption = (
        f"{same} Points of test accuracy, paired by seed. "
        f"{changes if data.transfer_leads['other_size'].notna().any() else ''}n: seeds with all "
        f"runs done, on the same kind of machine. Interval: {md.CONFIDENCE} Student-t interval of "
        "the mean over seeds, not corrected. p: two-sided paired t test. p (Holm): corrected for "
        f"this table; a difference is shown if it is below {LEVEL:g}. Rule: the test rule of each "
        "arm."
    )
    return md.format_table(shown, caption.strip(), words=("from", size_name(data)))


def _lead_sizes(row: md.Row) -> str:
    """Return the size of a row, or the two that it compares."""
    if pd.isna(row["other_size"]):
        return f"{row['size']:,}"
    return f"{row['size']:,} minus {row['other_size']:,.0f}"


def _lead_sentence(data: ReportData, rows: Sequence[md.Row], source: str) -> str:
    """Return the sizes at which either of the two is ahead, and whether the lead changes."""
    mine = [row for row in rows if row["pretraining"] == source]
    single = [row for row in mine if pd.isna(row["other_size"])]
    sizes = {name: [_lead_sizes(row) for row in single if _leader(row) == name] for name in LEADERS}
    leads = [(name, md.format_list(each)) for name, each in sizes.items() if each]
    first = "neither is shown to have the higher test accuracy"
    if leads:
        name, tried = leads[0]
        others = [f", and that of {other} with {more}" for other, more in leads[1:]]
        first = (
            f"the test accuracy of {name} is shown to be higher with {tried} {size_name(data)}"
            f"{''.join(others)}"
        )
    changes = [_lead_change(data, row) for row in mine if pd.notna(row["other_size"])]
    return f"From **{md.escape(source)}**: {'. '.join([first, *changes])}."


def _leader(row: md.Row) -> str:
    """Return the one of the two that is shown to be ahead, "" if neither is."""
    if not row["p_holm"] < LEVEL:
        return ""
    return LEADERS[0] if row["difference"] > 0 else LEADERS[1]


def _lead_change(data: ReportData, row: md.Row) -> str:
    """Return whether fine-tuning gains on the probe from the smaller to the larger size."""
    sizes = f"from {row['other_size']:,.0f} to {row['size']:,}"
    if not (leader := _leader(row)):
        return f"The difference is not shown to change {sizes}"
    changed = "increases" if leader == LEADERS[0] else "decreases"
    amount = data.format.points(abs(row["difference"])).removeprefix("+")
    return f"Fine-tuning minus probe {changed} by {amount} points {sizes}"


def size_section(data: ReportData) -> str:
    """Return the figure over sizes, and where fine-tuning overtakes the probe."""
    image = size_figure(data, "../")
    if not image:
        return ""
    caption = (
        f"Mean over seeds; band: {MEAN_INTERVAL}. The axis of sizes is logarithmic. Shaded: where "
        "fine-tuning overtakes the probe, with interval."
    )
    return md.join_parts(image, f"*{caption}*", crossover_lines(data))


def crossover_lines(data: ReportData) -> str:
    """Return for every pretraining the size at which fine-tuning overtakes the probe."""
    lines = [_crossover(data, row) for row in rows_of(data.crossovers)]
    if not lines:
        return ""
    words = (
        "Fine-tuning overtakes the probe at the smallest size above which its mean difference to "
        "the probe, paired by seed, stays positive (interpolated in the logarithm of the size). "
        f"Interval: {md.CONFIDENCE} percentile bootstrap over seeds, {RESAMPLES:,} resamples. With "
        "few seeds its coverage is lower: in simulations with normal differences "
        f"{_covered()}."
    )
    return f"{words}\n\n{md.format_bullets(lines)}"


def _covered() -> str:
    """Return the share of intervals that hold the crossover, by number of seeds."""
    return md.format_list([f"{share} % at {seeds} seeds" for seeds, share in COVERED.items()])


def _crossover(data: ReportData, row: md.Row) -> str:
    name = f"From **{md.escape(row['pretraining'])}**"
    if pd.isna(row["size"]):
        return f"{name}: too few seeds have all runs."
    tried = f"{row['smallest']} to {row['largest']}"
    bounds = f"[{_size(row, 'low')}, {_size(row, 'high')}]"
    share = f"{100 * row['without']:.0f} % of resamples without a crossing; n {row['n']}"
    beyond = f"not within the sizes tried ({tried}); on average, fine-tuning is"
    if row["size"] == -inf:
        where = f"{beyond} ahead at all of them"
    elif row["size"] == inf:
        where = f"{beyond} not ahead at the largest"
    else:
        where = f"at {_size(row, 'size')} {size_name(data)}"
    return f"{name}: {where}. Interval {bounds}; {share}."


def _size(row: md.Row, column: str) -> str:
    """Return a size with two digits; one beyond the sizes tried as a bound."""
    if row[column] == -inf:
        return f"below {row['smallest']}"
    if row[column] == inf:
        return f"above {row['largest']}"
    return f"{float(f'{row[column]:.2g}'):g}"


def gain_table(data: ReportData) -> str:
    """Return the gain with few images minus the gain with many; empty for a single size."""
    rows = [
        {
            "difference": _gain_name(row),
            f"few {size_name(data)}": f"{row['size']:,}",
            f"many {size_name(data)}": f"{row['other_size']:,}",
            "with few": data.format.points(row["effect"]),
            "with many": data.format.points(row["other_effect"]),
            f"few minus many [{md.INTERVAL}]": md.unbroken(data.format.change(row, unit="")),
            "n": str(row["n"]),
            "p": md.format_p(row["p"]),
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows_of(data.transfer_gains)
    ]
    if not rows:
        return ""
    shown, same = md.without_constant(rows, ("n",))
    caption = (
        f"{same} Points of test accuracy. {_other_sizes(data)}n: seeds with all four runs done, on "
        f"the same kind of machine. Interval: {md.CONFIDENCE} Student-t interval of the mean over "
        "seeds, not corrected. p: two-sided paired t test. p (Holm): corrected for this table. "
        "Rule: the test rule of each arm."
        f"{weight_note(data, 'all four arms', ', and intervals are at its level')}"
    )
    return md.format_table(shown, caption.strip(), words=("difference",))


def _other_sizes(data: ReportData) -> str:
    """Return that sources were tried at other sizes, which few and many then are."""
    rows = data.transfer_gains[data.transfer_gains["other"] == ""]
    ends = rows[["pretraining", "size", "other_size"]].drop_duplicates()
    if len(ends[["size", "other_size"]].drop_duplicates()) < 2:
        return ""
    named = [
        f"{row['size']:,} and {row['other_size']:,} for {md.escape(row['pretraining'])}"
        for row in rows_of(ends)
    ]
    return (
        f"Few and many differ between sources: {md.format_list(named)}. Rows that compare "
        "different sources with scratch are therefore not comparable with each other; a row that "
        "compares two sources has the same sizes for both. "
    )


def _gain_name(row: md.Row) -> str:
    mode, source = MODES[row["train"]], md.escape(row["pretraining"])
    if row["other"]:
        return f"{mode} from {source} minus {mode} from {md.escape(row['other'])}"
    return f"{mode} from {source} minus scratch"


def arm_table(data: ReportData) -> str:
    """Return every arm with its start, its learning rate and its verdict."""
    rows = [
        {
            "arm": data.named(row["study"], row["arm"]),
            "from": _source(row),
            "trained": _trained(row),
            size_name(data): f"{size_of(row):,}",
            "learning rate": f"{row['learning_rate']:.3g}",
            "test accuracy (%)": md.unbroken(data.format.percent_band(_band(row))),
            "n": str(row["n"]),
            f"difference [{md.INTERVAL}]": md.unbroken(data.format.change(row, unit="")),
            "reference": row["reference"] if row["verdict"] else md.VOID,
            "verdict": verdict_cell(row) if row["verdict"] else md.VOID,
        }
        for row in _distinct(data)
    ]
    shown, same = md.without_constant(rows, ("n", size_name(data)))
    caption = (
        f"{same} An arm with the same runs as an arm above is left out. {COMPLETED} "
        "Rule: the test rule of each arm. Learning rate: the chosen one. Difference: arm "
        f"minus reference, in points. Interval of the accuracy: {MEAN_INTERVAL}; of the "
        f"difference: {DIFFERENCE}, not corrected."
    )
    words = ("arm", "from", "trained", "reference", "verdict")
    return md.format_table(shown, caption.strip(), words=words)


def cost_table(data: ReportData) -> str:
    """Return the cost of training of every arm with a start, without and with its pretraining."""
    rows = [
        {
            "arm": data.named(row["study"], row["arm"]),
            "from": _source(row),
            "trained": _trained(row),
            "training (x reference)": md.format_ratio(row["training_ratio"]),
            "with pretraining (x reference)": md.format_ratio(row["total_ratio"]),
        }
        for row in _distinct(data)
        if row["train"] != SCRATCH
    ]
    caption = (
        "Counted operations, means over pairs of runs. Training includes both phases of an arm "
        "that trains the head first. A frozen trunk without noise or augmentation is computed once "
        "per example. With pretraining: the pretraining of the arm, and that of the reference, is "
        "counted as if it were done for this run alone; a file of weights has no cost here."
    )
    return md.format_table(rows, caption, words=("arm", "from", "trained"))


def _distinct(data: ReportData) -> list[md.Row]:
    """Return the rows of arms that compare runs no arm before compares."""
    return [row for row in rows_of(data.transfer) if not row["repeats"]]


def _band(row: md.Row) -> md.Row:
    bounds = {"low": row["accuracy_low"], "high": row["accuracy_high"]}
    return {"n": row["n"], "mean": row["accuracy"], **bounds}


def _source(row: md.Row) -> str:
    if row["pretraining"] == OWN_WEIGHTS:
        return f"`{OWN_WEIGHTS}`"
    return md.escape(row["pretraining"]) or "scratch"


def _trained(row: md.Row) -> str:
    """Return the trained part in words; `last_k` with its number."""
    return TRAINED.get(row["train"], f"last {row['k']:.0f} layers")
