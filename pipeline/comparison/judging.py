"""Judge results that were trained anywhere, by the statistics of a report."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.collapses import (
    RATE,
    collapsed,
    depth_of_losses,
    loss_direction,
    mcnemar_p,
    rate_columns,
    robust_losses,
)
from pipeline.comparison.family import Family, family
from pipeline.comparison.intervals import Array, interval, mean
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.other_images import Hits, statistics_over_images
from pipeline.comparison.paired import SEEDS_NEEDED, judged_statistics, paired_statistics
from pipeline.comparison.resolution import chance_difference
from pipeline.comparison.score_tables import Names, Scores, read_hits, read_scores, table_of
from pipeline.comparison.score_units import WHOLE, Direction, Unit, direction_of, margin_of, unit_of
from pipeline.comparison.significance import holm
from pipeline.comparison.trust import seeds_required
from pipeline.comparison.verdicts import LOST_RUNS, Judged, Losses, Verdict, judged_with_losses
from pipeline.runtime.errors import Refusal

COLUMNS = (
    *("arm", "reference", "n", "unpaired", "left", "baseline_mean", "arm_mean"),
    *("difference", "low", "high", "low_90", "high_90", "low_all", "high_all", "excludes_zero"),
    *("p", "p_sign_flip", "p_holm", "p_equivalence", "verdict", "below_margin", "withheld"),
    *("low_images", "high_images", "verdict_other_images"),
    *("detectable", "detectable_low", "detectable_high", *SEEDS_NEEDED),
    *("seed_error", "image_error", "total_error"),
    *("correlation", "cost", "repeats", "lost_pairs", *LOST_RUNS),
)
COLLAPSED = ("arm", "seed", "score", "median", "robust_z")
RATES = ("arm", "reference", *RATE, "p_holm", "often", "undone")
P_VALUES = ("p", "p_equivalence")
IMAGE_P_VALUES = ("p_images", "p_equivalence_images")
SCORED = ["arm", "seed", "score", "fingerprint", "diverged"]

ROUNDED = 0.005  # largest difference between a score and the share of correct examples
SHARE = 0.1  # share of test examples on which exactly one of two networks is right

Run = tuple[str, str]  # arm, seed


@dataclass(frozen=True, eq=False)
class Judgement:
    """The verdicts on results that were trained elsewhere.

    Attributes:
        score: The name of the score.
        unit: The unit of the scores.
        direction: Which are better.
        margin: The margin of equivalence, in the units of the scores.
        table: A row per arm that is compared, with the columns `COLUMNS`, which mean what they do
            in the table `contrasts` of a report. `unpaired` counts seeds of the arm that have no
            pair, `left` those of its reference; `cost` is a multiple of the reference's.
        seeds: The scores by arm and seed; `paired` is whether they count. It is a table that
            `judge` reads.
        collapses: Runs whose score is far worse than the other scores of their arm; no pair counts
            them.
        rates: A row per arm, references first, with the columns `RATES`, which mean what they do in
            the table `collapses` of a report. A diverged run has the worst score of its unit; for
            scores without a worst value, `undone` includes collapsed runs only.
        duplicate_arms: Groups of arms with the same scores at every seed, whose runs are not known
            to be the same.
        seeds_required: The fewest seeds at which the sign-flip test can find anything.
        ties: For every arm that helps, the other arms with its reference that help and are not
            shown to differ from it, by paired t tests with Holm's correction.
        n_test: The number of test examples; None if it is not known.
        rows_are_seeds: Whether no column has seeds, so that each row was taken for one.
    """

    score: str
    unit: Unit
    direction: Direction
    margin: float
    table: pd.DataFrame
    seeds: pd.DataFrame
    collapses: pd.DataFrame
    rates: pd.DataFrame
    duplicate_arms: tuple[tuple[str, ...], ...]
    seeds_required: int
    ties: Mapping[str, tuple[str, ...]]
    n_test: int | None = None
    rows_are_seeds: bool = False

    @property
    def example(self) -> float:
        """Return the change of the score by one test example; NaN if unknown."""
        whole = WHOLE.get(self.unit, math.nan)
        return whole / self.n_test if self.n_test else math.nan

    @property
    def chance(self) -> float:
        """Return the difference that two equally good networks show by chance; NaN if unknown.

        It is the result of `chance_difference` on these test examples, if exactly one of the two
        networks is right on a tenth of them.
        """
        whole = WHOLE.get(self.unit, math.nan)
        return whole * chance_difference(SHARE, self.n_test) if self.n_test else math.nan


def judge(
    scores: pd.DataFrame | Mapping[str, Any],
    *,
    arm: str | None = None,
    seed: str | None = None,
    score: str | None = None,
    images: pd.DataFrame | Mapping[str, Any] | None = None,
    against: str | None = None,
    margin: float | None = None,
    direction: str | None = None,
    unit: str | None = None,
    wide: bool = False,
    keep_going: bool = False,
    source: str = "scores",
    images_source: str = "images",
) -> Judgement:
    """Return the verdict on every arm of a table of scores, paired by seed.

    The table has a row per arm and seed, or a column per arm and a row per seed. Verdicts are as in
    a report: two-sided paired t tests, corrected over all arms by Holm's procedure, and two
    one-sided tests of equivalence within the margin, corrected in the same way. Runs that diverged
    or are far worse than the other runs of their arm are counted separately. Optional columns:
    `reference` (the arm that an arm is compared with), `reference_<score>`, `cost`, `n_test`,
    `direction`, `paired`, `diverged` (whether a run diverged; it needs no score).

    Example:
        >>> from pipeline.comparison import judge
        >>> judged = judge(
        ...     {
        ...         "seed": [1, 2, 3, 4, 5],
        ...         "baseline": [0.912, 0.908, 0.915, 0.910, 0.909],
        ...         "dropout": [0.931, 0.929, 0.933, 0.930, 0.926],
        ...     }
        ... )
        >>> judged.table[["arm", "difference", "verdict"]].round(3)
               arm  difference verdict
        0  dropout       0.019   helps

    Args:
        scores: The table, or its columns by name.
        arm: The column of arms; `arm` where it is None.
        seed: The column of seeds; `seed` where it is None.
        score: The column of scores; `score`, or `test_accuracy`, where it is None.
        images: Which test examples every run has right, from which the verdicts over other
            examples follow: the columns of arms and seeds, `image` and `correct` (true or false).
            Scores must be accuracies or error rates.
        against: The reference; the arm `baseline` where it is None.
        margin: The largest difference that does not matter, in the units of the scores; one point
            of fractions and percentages.
        direction: `higher` or `lower` is better; higher where it is None.
        unit: `fraction`, `percent` or `number`; taken from the scores where it is None.
        wide: Whether there is a column per arm, whatever the names of the columns say.
        keep_going: Whether to leave out runs without a score.
        source: What errors call the table.
        images_source: What they call that of `images`.

    Raises:
        Refusal: A column, a score or an argument is not what is described here.
    """
    names = Names(arm, seed, score, against, wide, keep_going)
    loaded = read_scores(table_of(scores, source), names, source)
    better = direction_of(direction or loaded.constants.get("direction"), loaded.title, source)
    kind = unit_of(unit, loaded.pairs, better, margin, source)
    limit = margin_of(margin, kind, source)
    runs = _runs(loaded.pairs, limit, better)
    groups = dict(iter(_with_losses(loaded.pairs, runs).groupby("arm", sort=False)))
    if not any(rows["counts"].sum() > 1 for rows in groups.values()):
        raise Refusal(
            f"{source}: no arm shares two seeds with its reference; "
            "expected at least two, and twelve to find small differences"
        )
    corrected = family([_identities(name, rows) for name, rows in groups.items()])
    hits: dict[Run, Hits] = {}
    if images is not None:
        hits = read_hits(table_of(images, images_source), names, images_source)
        _require_hits(hits, groups, kind, better, images_source)
    table = _table(groups, loaded, corrected, limit, better, hits, WHOLE.get(kind, math.nan))
    return Judgement(
        score=loaded.title,
        unit=kind,
        direction=better,
        margin=limit,
        table=table,
        seeds=loaded.pairs.assign(direction=str(better)),
        collapses=runs.loc[runs["collapsed"], list(COLLAPSED)].reset_index(drop=True),
        rates=_rates(groups, runs, corrected, _depth(runs, kind, better)),
        duplicate_arms=_duplicate_arms(groups),
        seeds_required=seeds_required(max(len(corrected.representatives), 1)),
        ties=_ties(groups, table),
        n_test=_examples(loaded.constants.get("n_test"), hits, source, images_source),
        rows_are_seeds=loaded.rows_are_seeds,
    )


def _examples(
    given: str | None, hits: Mapping[Run, Hits], source: str, images_source: str
) -> int | None:
    """Return the number of test examples; None if it is not known."""
    images = len(next(iter(hits.values()))) if hits else None
    if given is None:
        return images
    if not re.fullmatch(r"[1-9]\d*(\.0*)?", given):
        raise Refusal(f"{source}: n_test: invalid value {given!r}; expected an integer >= 1")
    number = int(float(given))
    if images not in (None, number):
        raise Refusal(f"{images_source}: {images} images; expected the {number} of n_test")
    return number


def _require_hits(
    hits: Mapping[Run, Hits],
    groups: Mapping[str, pd.DataFrame],
    unit: Unit,
    direction: Direction,
    source: str,
) -> None:
    """Check that the test examples of every run that counts are known, and have its score."""
    if unit not in WHOLE:
        raise Refusal(
            f"{source}: the scores are no accuracies; expected --unit fraction or percent"
        )
    for (arm, seed), score in _counting_scores(groups):
        place = f"{source}: arm {arm!r}, seed {seed}"
        if (arm, seed) not in hits:
            raise Refusal(f"{place}: no row; expected the images of every run that counts")
        right = float(hits[arm, seed].mean())
        expected = right if direction is Direction.HIGHER else 1 - right
        if not round(abs(expected - score / WHOLE[unit]), 9) <= ROUNDED:
            raise Refusal(
                f"{place}: correct: {100 * right:.2f} % of the images, but the score is "
                f"{score:g}; expected the test examples that the score is of"
            )


def _counting_scores(groups: Mapping[str, pd.DataFrame]) -> Iterator[tuple[Run, float]]:
    """Yield the runs of each counted pair, the run of the arm before that of its reference."""
    for arm, rows in groups.items():
        for row in rows[rows["counts"]].to_dict("records"):
            yield (arm, row["seed"]), row["score"]
            yield (row["reference"], row["seed"]), row["reference_score"]


def _identities(arm: str, rows: pd.DataFrame) -> tuple[Any, Any]:
    """Return the identities of the runs of the reference and of the arm: their names if known."""
    if (rows[["fingerprint", "reference_fingerprint"]] == "").all(axis=None):
        return rows["reference"].iloc[0], arm
    return _named_runs(rows, "reference_"), _named_runs(rows)


def _named_runs(rows: pd.DataFrame, side: str = "") -> tuple[tuple[str, float], ...]:
    """Return the names and scores of runs; `side` is "reference_" for those of the reference."""
    scores = rows[f"{side}score"].fillna(-math.inf)
    return tuple(zip(rows[f"{side}fingerprint"], scores, strict=True))


def _table(
    groups: Mapping[str, pd.DataFrame],
    scores: Scores,
    corrected: Family,
    margin: float,
    direction: Direction,
    hits: Mapping[Run, Hits],
    whole: float,
) -> pd.DataFrame:
    """Return a row per arm with `COLUMNS`: statistics, corrected p-values and verdicts.

    Args:
        groups: The pairs of every arm.
        scores: The scores as they were read.
        corrected: The arms that are corrected together.
        margin: The margin of equivalence, in the units of the scores.
        direction: Which scores are better.
        hits: Which test examples every run has right; empty if they are unknown.
        whole: The score of a network that is always right; NaN without one.
    """
    rows = []
    for arm, group in groups.items():
        row = _row(arm, group, scores.left[arm], corrected.level, margin)
        rows.append(row | _over_images(arm, group, hits, margin, whole))
    table = pd.DataFrame(rows)
    gains = direction.sign * table["difference"].to_numpy(float)
    losses = [_losses(group) for group in groups.values()]

    def adjusted(names: tuple[str, str]) -> tuple[Array, Array]:
        difference, equivalence = (table[name].to_numpy(float) for name in names)
        return corrected.holm(difference), corrected.holm(equivalence)

    def verdicts(p_holm: Array, p_equivalence: Array) -> list[Judged]:
        concluded = corrected.verdicts(gains, p_holm, p_equivalence)
        return [judged_with_losses(*pair) for pair in zip(concluded, losses, strict=True)]

    p_holm, p_equivalence = adjusted(P_VALUES)
    judged = verdicts(p_holm, p_equivalence)
    over_images = [str(one.verdict) for one in verdicts(*adjusted(IMAGE_P_VALUES))] if hits else ""
    table = table.assign(
        p_holm=p_holm,
        p_equivalence=p_equivalence,
        verdict=[str(one.verdict) for one in judged],
        below_margin=[one.below_margin for one in judged],
        withheld=[one.withheld for one in judged],
        verdict_other_images=over_images,
        repeats=corrected.repeats,
    )
    return table[list(COLUMNS)]


def _row(arm: str, group: pd.DataFrame, left: int, level: float, margin: float) -> dict[str, Any]:
    """Return the statistics of an arm before any correction.

    Args:
        arm: The name of the arm.
        group: Its pairs.
        left: The seeds of its reference that have no pair.
        level: The level of the hardest step of Holm's procedure.
        margin: The margin of equivalence, in the units of the scores.
    """
    pairs = group[group["counts"]]
    reference = pairs["reference_score"].to_numpy(float)
    scores = pairs["score"].to_numpy(float)
    costs = pairs["cost"].astype(float) / pairs["reference_cost"].astype(float)
    is_unpaired = group["ended"] & ~group["counts"] & ~group["is_lost"]
    return {
        "arm": arm,
        "reference": group["reference"].iloc[0],
        "unpaired": int(is_unpaired.sum()),
        "left": left,
        **paired_statistics(reference, scores),
        **judged_statistics(scores - reference, level, margin),
        "cost": costs.mean(),
        "lost_pairs": int(group["is_lost"].sum()),
        **asdict(_losses(group)),
    }


def _over_images(
    arm: str, group: pd.DataFrame, hits: Mapping[Run, Hits], margin: float, whole: float
) -> dict[str, float]:
    """Return the statistics of an arm over seeds and test examples; NaN if they are unknown."""
    pairs = group[group["counts"]]
    differences = (pairs["score"] - pairs["reference_score"]).to_numpy(float)
    runs = [
        ((reference, seed), (arm, seed))
        for reference, seed in zip(pairs["reference"], pairs["seed"], strict=True)
    ]
    return statistics_over_images([(differences, runs)], (1.0,), hits, margin, whole)


def _runs(pairs: pd.DataFrame, margin: float, direction: Direction) -> pd.DataFrame:
    """Return the runs of all arms, references first: `SCORED`, `COLLAPSED` and `collapsed`.

    Arms with the same runs count once in the spread of all.
    """
    runs = _distinct_runs(pairs)
    first_arms: dict[Any, str] = {}
    first_of = {
        str(arm): first_arms.setdefault(_content(str(arm), rows), str(arm))
        for arm, rows in runs.groupby("arm", sort=False)
    }
    runs["first"] = runs["arm"].map(first_of)
    counted = runs[(runs["arm"] == runs["first"]) & runs["score"].notna()]
    scored = counted.assign(score=direction.sign * counted["score"].astype(float))
    medians, distances = robust_losses(scored)
    judged = pd.DataFrame(
        {
            "first": counted["arm"].tolist(),
            "seed": counted["seed"].tolist(),
            "median": direction.sign * medians,
            "robust_z": distances,
            "collapsed": collapsed(scored, margin),
        }
    )
    merged = runs.merge(judged, "left", ["first", "seed"])
    return merged.assign(collapsed=merged["collapsed"].eq(True))


def _distinct_runs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that have a score or diverged, with `SCORED`; reference runs come first."""
    of_arms = pairs[SCORED]
    columns = ["reference", "seed", *(f"reference_{name}" for name in SCORED[2:])]
    of_references = pairs[columns].set_axis(of_arms.columns, axis=1)
    runs = pd.concat([of_references, of_arms]).drop_duplicates(["arm", "seed"])
    return runs[runs["score"].notna() | runs["diverged"]].reset_index(drop=True)


def _content(arm: str, rows: pd.DataFrame) -> Any:
    """Return the identity of the runs of an arm: their names if known, otherwise the arm's name."""
    return arm if (rows["fingerprint"] == "").all() else _named_runs(rows)


def _with_losses(pairs: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs with six more columns, on runs that were lost or have ended.

    `lost` and `ended` are of the arm, `reference_lost` and `reference_ended` of its reference.
    `is_lost` is whether both runs have ended and one of them is lost. `counts` is whether the pair
    counts in the contrast.
    """
    collapses = runs.set_index(["arm", "seed"])["collapsed"]
    columns: dict[str, Any] = {}
    for side, arm in (("", "arm"), ("reference_", "reference")):
        keys = pd.MultiIndex.from_frame(pairs[[arm, "seed"]])
        diverged = pairs[f"{side}diverged"].to_numpy(bool)
        columns[f"{side}lost"] = diverged | collapses.reindex(keys).eq(True).to_numpy()
        columns[f"{side}ended"] = diverged | pairs[f"{side}score"].notna().to_numpy()
    ended = columns["ended"] & columns["reference_ended"]
    lost = columns["lost"] | columns["reference_lost"]
    counts = pairs["paired"].to_numpy(bool) & ~lost
    return pairs.assign(**columns, is_lost=ended & lost, counts=counts)


def _losses(rows: pd.DataFrame) -> Losses:
    """Return the numbers of runs that an arm and its reference lost."""
    lost = rows[["reference_lost", "lost"]].to_numpy(bool).T
    ended = rows[["reference_ended", "ended"]].to_numpy(bool).T
    return Losses.count(lost, ended)


def _rates(
    groups: Mapping[str, pd.DataFrame], runs: pd.DataFrame, corrected: Family, lost_by: float
) -> pd.DataFrame:
    """Return the rates at which the runs of every arm collapsed or diverged, with `RATES`.

    Args:
        groups: The pairs of every arm.
        runs: The runs of all arms.
        corrected: The arms that are corrected together.
        lost_by: As `_depth` returns it.
    """
    losses = {arm: _losses(rows) for arm, rows in groups.items()}
    adjusted = corrected.holm(np.array([_mcnemar(one) for one in losses.values()]))
    p_holm = dict(zip(losses, adjusted, strict=True))
    rates = []
    for name, rows in runs.groupby("arm", sort=False):
        arm = str(name)
        row = {"arm": arm, "reference": "", "p_holm": math.nan, "often": "", "undone": math.nan}
        row |= rate_columns(int(rows["collapsed"].sum()), int(rows["diverged"].sum()), len(rows))
        if arm in groups:
            alone = losses[arm].lost_alone, losses[arm].reference_lost_alone
            row |= {
                "reference": groups[arm]["reference"].iloc[0],
                "p_holm": p_holm[arm],
                "often": loss_direction(*alone, p_holm[arm]),
                "undone": _typical(groups[arm]) / lost_by if lost_by > 0 else math.nan,
            }
        rates.append(row)
    return pd.DataFrame(rates, columns=list(RATES))


def _mcnemar(losses: Losses) -> float:
    """Return p of equal rates of lost runs; NaN if no pair of runs has ended."""
    if not losses.both_ended:
        return math.nan
    return mcnemar_p(losses.lost_alone, losses.reference_lost_alone)


def _typical(rows: pd.DataFrame) -> float:
    """Return the absolute mean difference of the pairs of an arm that count."""
    counted = rows[rows["counts"]]
    return abs(mean((counted["score"] - counted["reference_score"]).to_numpy(float)))


def _depth(runs: pd.DataFrame, unit: Unit, direction: Direction) -> float:
    """Return the mean distance of lost runs from the median of the other runs of their arm.

    Args:
        runs: The runs of all arms, as `_runs` returns them; arms with the same runs count once.
        unit: The unit of the scores. A diverged run has the worst score of the unit, if it has one.
        direction: Which scores are better.
    """
    whole = WHOLE.get(unit, math.nan)
    worst = 0 * whole if direction is Direction.HIGHER else whole
    distinct = runs[runs["arm"] == runs["first"]]
    has_diverged = distinct["diverged"].astype(bool)
    is_lost = distinct["collapsed"].astype(bool) | has_diverged
    scores = direction.sign * distinct["score"].mask(has_diverged, worst).astype(float)
    of_arms = []
    for _, values in scores.groupby(distinct["arm"]):
        lost = is_lost[values.index]
        of_arms.append((values[~lost].to_numpy(), values[lost].dropna().to_numpy()))
    return depth_of_losses(of_arms)


def _ties(groups: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return, for each arm that helps, the other helping arms that do not differ significantly."""
    helping = table[(table["verdict"] == Verdict.HELPS) & ~table["repeats"]]
    references = helping.set_index("arm")["reference"]
    pairs = [
        (one, other)
        for one, other in combinations(helping["arm"], 2)
        if references[one] == references[other]
    ]
    if not pairs:
        return {}
    scores = {}
    for arm in helping["arm"]:
        rows = groups[arm]
        scores[arm] = rows[rows["counts"]].set_index("seed")["score"]
    differences = [(scores[one] - scores[other]).dropna().to_numpy(float) for one, other in pairs]
    adjusted = holm(np.array([interval(values).p for values in differences]))
    tied: dict[str, tuple[str, ...]] = {}
    for (one, other), p_holm in zip(pairs, adjusted, strict=True):
        if not p_holm < LEVEL:
            tied[one] = (*tied.get(one, ()), other)
            tied[other] = (*tied.get(other, ()), one)
    return tied


def _duplicate_arms(groups: Mapping[str, pd.DataFrame]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of arms with the same scores whose runs have no names."""
    alike: dict[Any, list[str]] = {}
    for name, rows in groups.items():
        if (rows["fingerprint"] == "").all():
            scores = tuple(zip(rows["seed"], rows["score"], strict=True))
            alike.setdefault(scores, []).append(name)
    return tuple(tuple(names) for names in alike.values() if len(names) > 1)
