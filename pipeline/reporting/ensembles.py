"""The section of one study of ensembles: the equal-cost table, what it shows, and the runs behind it.

Separate from the sections of studies because nothing is compared arm by arm here: a row is a way to predict
with the models of a group, and a pair is a group.
"""

from collections.abc import Sequence

import pandas as pd

from pipeline.config.plan import BASELINE, PlannedEnsemble
from pipeline.reporting.frames import Evidence
from pipeline.reporting.gains import PRECISION, SCALED, bounds, shown
from pipeline.reporting.lessons import cheapest, gained, grown, optimism, scaled, trusted
from pipeline.reporting.methods import LEAST, Row, method_rows, of
from pipeline.reporting.overview import MEAN_INTERVAL
from pipeline.reporting.sections import changes, losses, lost, run_table
from pipeline.reporting.tables import (
    CONFIDENCE,
    VOID,
    counted,
    decimal,
    decimals,
    listed,
    percent,
    ratio,
    table,
    text,
)

SHARED = "The first baseline model of a group is the confirmation run of its seed."
SIZES = "Test accuracy and negative log-likelihood against the number averaged, a row of panels for each method, with bands"
DIFFERENCES = ("difference (points)", "difference (nats)", "difference scaled (nats)")
DIAGRAM = (
    "Reliability diagram: accuracy against confidence for a few methods, over the diagonal of perfect calibration, and "
    "beneath it how many test images have which confidence"
)
NO_VERDICTS = "Nothing here has a verdict: intervals are not corrected, and of twenty without effect about one leaves out 0."
COST = (
    "Training: FLOPs of all trainings behind a row, as a multiple of one baseline training; passes: forward passes per test "
    "image. Calibration error: over bins of equal mass. Scaled: after a temperature fitted on validation, without which NLL "
    "is not comparable (Ashukha et al., ICLR 2020). Disagreement: test images on which the top classes of two members differ"
)
GROWING = (
    f"Lines: mean over groups. Band: {MEAN_INTERVAL}. n: as in the table. Rule: the arithmetic mean of the probabilities of "
    "so many members: of independent models the mean over all subsets of a size, of others the last ones. Every panel has its "
    "own scale; the dashed line, the same in all, is the first baseline model of every group."
)
POOLED = (
    "n: as in the table; all groups pooled, so every test image counts once per group. Rule: the arithmetic mean of "
    f"probabilities. No interval; above, bins of fewer than {LEAST} images are left out."
)


def ensemble_section(evidence: Evidence, ensemble: PlannedEnsemble) -> str:
    """Everything about one study of ensembles, from its question to its runs."""
    runs = evidence.members[evidence.members["study"] == ensemble.name]
    parts = [
        f"# Study: {ensemble.name}",
        f"{text(ensemble.question)} {changes(ensemble)} {_made(ensemble)} {NO_VERDICTS}",
        *_found(evidence, ensemble),
        f"## Runs of {ensemble.name}\n\n{run_table(runs, SHARED)}",
        losses(runs),
        lost(runs),
    ]
    return "\n\n".join(part for part in parts if part)


def equal_cost_table(rows: Sequence[Row], groups: int, digits: int) -> str:
    """A row per method: what it costs, how it scores, and its paired gain over the method that it is compared with."""
    caption = (
        f"n: groups, of {groups} planned; means over them. Rule: the arithmetic mean of the probabilities of a row's members, "
        f"or the geometric one where it says so, on the test images. {COST}. Differences: from the method that a row is "
        "compared with, points of accuracy and nats: a gain is above 0 in accuracy and below 0 in NLL. Interval: "
        f"{CONFIDENCE} Student-t interval of the mean difference, paired over the groups that have both, not corrected."
    )
    return table(pd.DataFrame([_cells(row, digits) for row in rows]), caption)


def _found(evidence: Evidence, ensemble: PlannedEnsemble) -> list[str]:
    """The table, its sentences and the figures; one line instead where no group is complete."""
    scored, sizes, bins = (
        of(ensemble, frame) for frame in (evidence.ensembles, evidence.sizes, evidence.reliability)
    )
    if scored.empty:
        return ["**No group has all its baseline models done, so nothing was averaged.**"]
    rows, digits = method_rows(scored), decimals(evidence.primary())
    said = (
        *(tell(rows, digits) for tell in (gained, scaled, cheapest)),
        *(grown(sizes, digits), trusted(bins, digits), optimism(scored)),
    )
    images = [f"![{DIAGRAM}](../figures/reliability_{ensemble.name}.png)\n\n*{POOLED}*"]
    if len(sizes):
        images.insert(
            0, f"![{SIZES}](../figures/ensemble_sizes_{ensemble.name}.png)\n\n*{GROWING}*"
        )
    bullets = "\n".join(f"- {sentence}" for sentence in said if sentence)
    return [bullets, equal_cost_table(rows, len(ensemble.groups), digits), *images]


def _made(ensemble: PlannedEnsemble) -> str:
    """How groups are made, from the plan."""
    others = [arm.name for arm in ensemble.arms if arm.name != BASELINE]
    once = f" Trained once per group: {listed(others)}." if others else ""
    return (
        f"Groups planned: {len(ensemble.groups)}. The models of a group share their training split; its "
        f"{counted(ensemble.size, 'baseline model')} differ in initial weights, batch order and noise.{once} "
        "A group without one of its baseline models is left out."
    )


def _cells(row: Row, digits: int) -> dict[str, str]:
    means = row.means
    return {
        "method": row.name,
        "trainings": _number(means["trainings"]),
        "training": ratio(row.cost),
        "passes": _number(means["forward_passes"]),
        "accuracy (%)": percent(means["accuracy"], digits),
        "NLL (nats)": decimal(means["nll"], PRECISION),
        "NLL scaled (nats)": decimal(means[SCALED], PRECISION),
        "Brier": decimal(means["brier"], PRECISION),
        "calibration error (%)": percent(means["calibration_error"], digits),
        "scaled (%)": percent(means["calibration_error_scaled"], digits),
        "disagreement (%)": percent(means["disagreement"], digits),
        "compared with": VOID if row.single else row.against,
        **{
            title: VOID
            if row.single
            else f"{shown(metric, found.mean, digits)} {bounds(metric, found, digits)}".strip()
            for (metric, found), title in zip(row.gain.by.items(), DIFFERENCES, strict=True)
        },
        "n": str(row.n),
    }


def _number(mean: float) -> str:
    """A mean number of things: 4, or 6.2."""
    return decimal(mean, 0 if mean == round(mean) else 1)
