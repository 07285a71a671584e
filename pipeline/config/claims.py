"""Define what a study claims in advance: sentences of lectures and papers as predictions."""

import hashlib
import json
from collections.abc import Iterable
from math import inf
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline.config.schema import Method
from pipeline.config.settings import Settings, Word

Passes = Annotated[int, Field(ge=0, le=20)]  # 0: without noise; predictions have 20
Members = Annotated[int, Field(ge=1, le=100)]
Text = Annotated[str, Field(pattern=r"\S")]
By = Literal["lecture_a", "lecture_b", "both", "paper"]
Rule = Literal[
    "directional", "equivalence", "slope", "interaction", "correlation", "exact", "identity"
]
Expect = Literal["lower", "higher", "equal", "not_lower", "not_higher"]
Measure = Literal[
    "accuracy",
    "error",
    "nll",
    "brier",
    "calibration_error",
    "validation_accuracy",
    "validation_nll",
    "train_accuracy",
    "train_nll",
    "gap",
    "training_cost",
    "test_cost",
    "updates_to_target",
    "flops_to_target",
    "squared_weight_norm",
    "zeros",
    "disagreement",
    "rate_range",
    "rate_shift",
    "importance",
]
TIMES = ("updates_to_target", "flops_to_target")
LOGARITHMIC = (
    *TIMES,
    "squared_weight_norm",
    "rate_range",
    "rate_shift",
)  # their differences are of logarithms
COSTS = ("training_cost", "test_cost")
FRACTIONS = (  # the margin of the protocol is one of them
    *("accuracy", "error", "validation_accuracy", "train_accuracy", "gap"),
)
REACH: dict[Measure, tuple[float, float]] = {  # the values of one side, where they are bounded
    **dict.fromkeys(("accuracy", "error", "validation_accuracy", "train_accuracy"), (0.0, 1.0)),
    **dict.fromkeys(("calibration_error", "zeros", "disagreement", "importance"), (0.0, 1.0)),
    "gap": (-1.0, 1.0),
    "brier": (0.0, 2.0),
}
CONVEX = ("nll", "brier")  # of an average never above the mean of its members
AVERAGED = ("accuracy", "error", "nll")  # by number of noise passes or members
OF_METHODS = (*AVERAGED, "brier", "calibration_error", "disagreement", *COSTS)
OF_HYPERPARAMETERS = ("importance", "rate_shift")
FITTING: dict[Rule, tuple[Expect, ...]] = {  # what a claim of each rule can expect
    "directional": ("lower", "higher", "not_lower", "not_higher"),
    "equivalence": ("equal",),
    "slope": ("lower", "higher"),
    "interaction": get_args(Expect),
    "correlation": ("lower", "higher", "not_lower", "not_higher"),
    "exact": ("lower", "higher", "equal"),
    "identity": ("lower", "higher", "equal"),
}
SINGLE, INDEPENDENT = "one model", "independent"  # methods of an ensemble
BOUNDED = ("equal", "not_lower", "not_higher")  # expectations that a margin decides


class Contrast(Settings):
    """What is compared: one arm with another, or two ways to test the same networks.

    Attributes:
        arm: An arm of this study.
        against: The reference: an arm of this study, or of `against_study`; null: the reference
            that `arm` has in its study.
        against_study: Another study, which must be run, too; null: this one.
        levels: The arms of a slope, in the order of what they change.
        passes: Two numbers of noise passes of `arm`, the reference first; 0 is without noise.
        methods: Two methods of a study with `ensemble`, the reference first, as its page names
            them.
        members: Two numbers of averaged members of `method`, the reference first.
        method: The method whose members are averaged.
        chosen: A method whose models have different scores by chance alone. In each group, the
            model with the best validation score is chosen. Its lead over the mean of the group on
            validation data is compared with its lead on the test set.
        search: A method of search, in a study with `search`. The setting that it chooses for `arm`
            is compared with that of random search at the same cost.
        scale: The scale on which random search draws the learning rate of `arm`, in a study with
            `search`. The setting that it chooses is compared with that on a logarithmic scale,
            after as many trials.
        hyperparameter: A hyperparameter of `arm` by its full name, as in training.batch_size, in a
            study with `search`. Measure `importance` compares its importance with that of its
            strongest rival. Measure `rate_shift` compares the best learning rate at its high values
            with that at its low ones.
    """

    arm: Word | None = None
    against: Word | None = None
    against_study: Word | None = None
    levels: Annotated[tuple[Word, ...], Field(min_length=3)] | None = None
    passes: Annotated[tuple[Passes, ...], Field(min_length=2, max_length=2)] | None = None
    methods: Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)] | None = None
    members: Annotated[tuple[Members, ...], Field(min_length=2, max_length=2)] | None = None
    method: Text = INDEPENDENT
    chosen: Literal["independent"] | None = None
    search: Method | None = None
    scale: Literal["uniform"] | None = None
    hyperparameter: Text | None = None

    @property
    def is_searched(self) -> bool:
        """Return whether it is about what searches for an arm find."""
        return any((self.search, self.scale, self.hyperparameter))

    @property
    def is_averaged(self) -> bool:
        """Return whether it is between ways to average the models of an ensemble."""
        forms = self.methods, self.members, self.chosen
        return any(form is not None for form in forms)

    @property
    def is_average_of_more(self) -> bool:
        """Return whether one side averages more of the exchangeable members of the other."""
        few_passes = self.passes is not None and self.passes[0] > 0
        more_models = self.methods is not None and {*self.methods} == {SINGLE, INDEPENDENT}
        more_members = self.members is not None and self.method == INDEPENDENT
        return few_passes or more_models or more_members

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the arms of its study that it names."""
        named = self.arm, None if self.against_study else self.against, *(self.levels or ())
        return tuple(name for name in named if name)

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        forms = [self.arm, self.levels, self.methods, self.members, self.chosen]
        if sum(form is not None for form in forms) != 1:
            raise ValueError("one of: arm, levels, methods, members, chosen")
        of_an_arm = (self.passes, self.search, self.scale, self.hyperparameter)
        if (any(of_an_arm) or not self.arm) and (self.against or self.against_study):
            raise ValueError("against with an arm alone, not with passes or the like")
        if any(of_an_arm) and not self.arm:
            raise ValueError("an arm with passes, a search, a scale or a hyperparameter")
        if sum(map(bool, of_an_arm)) > 1:
            raise ValueError("one of: passes, search, scale, hyperparameter")
        if self.search == "random":
            raise ValueError("another search than random, with which each is compared")
        for numbers in (self.passes, self.members):
            if numbers and numbers[0] >= numbers[1]:
                raise ValueError("numbers in ascending order, as in [1, 12]")
        return self

    @model_validator(mode="after")
    def _compares_different_things(self) -> Self:
        """Check that no side is compared with itself: the outcome would be known."""
        for what, names in (("levels", self.levels), ("methods", self.methods)):
            if names and len({*names}) < len(names):
                raise ValueError(f"{what} that are all different")
        if self.arm and self.arm == self.against and not self.against_study:
            raise ValueError("another arm in against than in arm")
        return self


class Claim(Settings):
    """A sentence of a lecture or a paper as a testable prediction.

    Attributes:
        id: The name of the claim, which no other claim has.
        source: Where it is from: lecture and topic, or the paper with its table or figure.
        by: Who says it.
        says: The claim, paraphrased.
        contrast: What is compared; null for a correlation over all arms.
        than: A second contrast, for an interaction: the first one minus this one is judged.
        measure: The quantity that is compared: by its ratio for times to target,
            `squared_weight_norm`, `rate_range` and `rate_shift`, by its difference for all others.
            `zeros`: the share of the weights of `arm` that are exactly 0. `disagreement`: how much
            the members of an ensemble disagree. `rate_range`: the factor between the ends of the
            range of learning rates that work, in exploration. `rate_shift`: the best learning rate,
            by the value of `hyperparameter`. `importance`: the importance of `hyperparameter`. With
            rule `correlation`, `gap` is correlated with test accuracy.
        rule: directional: the sign of the difference; equivalence: the difference lies within the
            margin; slope: the change from the first level to the last, by least squares over their
            order; interaction: the difference of two contrasts; correlation: by rank, over the arms
            of a seed; exact: at every seed, so that one counter-example contradicts; identity: the
            claim follows from the settings, and is shown and not counted.
        expect: How the arm is expected to compare with its reference; with `levels`, the last with
            the first.
        threshold: The value with which the contrast is compared; 0: no difference.
        margin: The largest difference that counts as equivalent, in the unit of the measure. null:
            the margin of the protocol, for measures that are fractions.
        figures: Two numbers as printed in a paper, that of the reference first; errors in percent.
        setting: The network, the data and other settings of the figures.
        datasets: The datasets that the claim is about; null: any.
        needs: Values of the protocol without which the claim cannot be tested, by dotted key; a
            number is a minimum, as in {data.label_noise: 0.1}.
        alternative: The claim that says the opposite.
    """

    id: Word
    source: Text
    by: By
    says: Text
    contrast: Contrast | None = None
    than: Contrast | None = None
    measure: Measure = "error"
    rule: Rule = "directional"
    expect: Expect
    threshold: float = 0.0
    margin: float | None = Field(None, gt=0)
    figures: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    setting: Text | None = None
    datasets: tuple[Word, ...] | None = Field(None, min_length=1)
    needs: dict[str, Any] = Field(default_factory=dict)
    alternative: Word | None = None

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Return the contrasts that it names."""
        return tuple(one for one in (self.contrast, self.than) if one)

    @model_validator(mode="after")
    def _expectation_fits_the_rule(self) -> Self:
        if self.expect not in FITTING[self.rule]:
            allowed = ", ".join(FITTING[self.rule])
            raise ValueError(f"expect to be one of {allowed}, with rule {self.rule}")
        if (self.rule == "identity") != (self.measure in COSTS):
            raise ValueError(
                "rule identity for a cost, which follows from the settings, and for nothing else"
            )
        if self.measure == "disagreement" and self.rule == "correlation":
            raise ValueError("a correlation of gap and accuracy: measure gap")
        bounded = self.expect in BOUNDED and self.rule not in ("exact", "identity")
        has_margin = self.measure in FRACTIONS and self.rule != "correlation"
        if bounded and self.margin is None and not has_margin:
            raise ValueError(f"a margin, which {self.measure} needs for {self.expect}")
        return self

    @model_validator(mode="after")
    def _contrasts_fit_the_rule(self) -> Self:
        if (self.rule == "correlation") != (self.contrast is None):
            raise ValueError("a contrast, and none with rule correlation")
        if (self.rule == "correlation") and self.measure != "gap":
            raise ValueError("measure gap with rule correlation")
        if (self.rule == "interaction") != (self.than is not None):
            raise ValueError("than with rule interaction alone")
        if self.than and self.than == self.contrast:
            raise ValueError("another contrast in than")
        if (self.rule == "slope") != any(one.levels is not None for one in self.contrasts):
            raise ValueError("levels with rule slope alone")
        for one in self.contrasts:
            if (one.passes or one.members or one.chosen) and self.measure not in AVERAGED:
                raise ValueError(
                    f"one of these measures of passes, members or models that are chosen: "
                    f"{', '.join(AVERAGED)}"
                )
            if one.levels and self.measure == "zeros":
                raise ValueError("another measure than zeros of levels")
            if (one.search or one.scale) and self.measure not in ("accuracy", "error"):
                raise ValueError("measure accuracy or error of a search")
            if bool(one.hyperparameter) != (self.measure in OF_HYPERPARAMETERS):
                raise ValueError(
                    f"a hyperparameter with one of: {', '.join(OF_HYPERPARAMETERS)}, and with "
                    "nothing else"
                )
            if self.measure == "rate_range" and not one.arm:
                raise ValueError("an arm with measure rate_range")
            if self.measure == "rate_range" and one.passes:
                raise ValueError("no passes with measure rate_range")
            if one.methods and self.measure not in OF_METHODS:
                raise ValueError(f"one of these measures of methods: {', '.join(OF_METHODS)}")
            if self.measure == "disagreement" and not one.methods:
                raise ValueError("methods with measure disagreement")
        return self

    @property
    def reach(self) -> tuple[float, float]:
        """Return the least and the largest value that the contrast can have; may be infinite."""
        if self.rule == "correlation":
            return -1.0, 1.0
        low, high = REACH.get(self.measure, (-inf, inf))
        if self.measure == "zeros" and not self.than:
            return low, high  # those of the other side are not counted
        widest = max(high - low, 0.0)
        if self.rule == "slope" and self.contrast and self.contrast.levels:
            widest *= largest_change(len(self.contrast.levels))
        if self.than and self.measure != "zeros":
            widest *= 2
        return -widest, widest

    @model_validator(mode="after")
    def _can_come_out_otherwise(self) -> Self:
        """Check that data can support it and contradict it: both are within reach."""
        if self.alternative == self.id:
            raise ValueError("another claim in alternative")
        if self.rule == "identity":
            return self
        averages = self.measure in CONVEX and self.contrast and self.contrast.is_average_of_more
        if averages and self.rule in ("directional", "exact"):
            raise ValueError(
                f"another measure than {self.measure}: that of an average of more members is "
                "never above the mean of fewer (Jensen)"
            )
        low, high = self.reach
        margin = self.margin or 0.0
        value, above, below = self.threshold, self.threshold + margin, self.threshold - margin
        at_bound = self.rule == "exact"  # a seed at the threshold contradicts it
        supported, contradicted = {
            "higher": (high > value, low < value or (at_bound and low == value)),
            "lower": (low < value, high > value or (at_bound and high == value)),
            "equal": (low < above and high > below, low < below or high > above),
            "not_lower": (high > below, low < below),
            "not_higher": (low < above, high > above),
        }[self.expect]
        if not (supported and contradicted):
            raise ValueError(
                "a threshold and a margin that leave both outcomes possible, for values from "
                f"{low:g} to {high:g}"
            )
        return self

    @model_validator(mode="after")
    def _figures_show_the_effect(self) -> Self:
        if self.figures is None:
            return self
        if self.setting is None:
            raise ValueError("setting beside figures")
        before, after = self.figures
        is_shown = {
            "lower": after < before,
            "higher": after > before,
            "not_lower": after >= before,
            "not_higher": after <= before,
            "equal": True,
        }
        if not is_shown[self.expect]:
            raise ValueError(
                "an expectation that its figures show: "
                "lower, higher, not_lower or not_higher, the second against the first"
            )
        return self


def largest_change(levels: int) -> float:
    """Return the largest change from first to last level, by least squares, of values in [0, 1].

    It is that of a step in the middle.

    Args:
        levels: The number of levels, at least 3.
    """
    places = [number - (levels - 1) / 2 for number in range(levels)]
    squares = sum(place**2 for place in places)
    return (levels - 1) * sum(abs(place) for place in places) / 2 / squares


def claims_digest(claims: Iterable[Claim]) -> str:
    """Return the SHA-256 of all claims of a plan, in their order."""
    values = [claim.model_dump(mode="json") for claim in claims]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
