"""Define what a study claims in advance: sentences of lectures and papers as predictions."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from math import inf
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline.config.schema import Method
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import Mistakes, expectation, one_of

Passes = Annotated[int, Field(ge=0, le=20)]  # 0: without noise; predictions have 20
Members = Annotated[int, Field(ge=1, le=100)]
Text = Annotated[str, Field(pattern=r"\S")]
By = Literal["lecture_a", "lecture_b", "both", "paper"]
Mistake = tuple[str, str]  # a key, and what is wrong with its value
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
COSTS: tuple[Measure, ...] = ("training_cost", "test_cost")
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
AVERAGED: tuple[Measure, ...] = ("accuracy", "error", "nll")  # by number of noise passes or members
OF_METHODS: tuple[Measure, ...] = (*AVERAGED, "brier", "calibration_error", "disagreement", *COSTS)
OF_HYPERPARAMETERS: tuple[Measure, ...] = ("importance", "rate_shift")
FITTING: dict[Rule, tuple[Expect, ...]] = {  # what a claim of each rule can expect
    "directional": ("lower", "higher", "not_lower", "not_higher"),
    "equivalence": ("equal",),
    "slope": ("lower", "higher"),
    "interaction": get_args(Expect),
    "correlation": ("lower", "higher", "not_lower", "not_higher"),
    "exact": ("lower", "higher", "equal"),
    "identity": ("lower", "higher", "equal"),
}
FORMS = ("arm", "levels", "methods", "members", "chosen")  # a contrast has one of them
PARTS = ("passes", "search", "scale", "hyperparameter")  # an arm may have one of them
OF_SEARCHES: tuple[Measure, ...] = ("accuracy", "error")
MEASURES: dict[str, tuple[Measure, ...]] = {  # what a contrast with this key can measure
    **dict.fromkeys(("passes", "members", "chosen"), AVERAGED),
    "methods": OF_METHODS,
    **dict.fromkeys(("search", "scale"), OF_SEARCHES),
    "hyperparameter": OF_HYPERPARAMETERS,
}
NEEDED: dict[Measure, str] = {  # the key without which a contrast does not have this measure
    **dict.fromkeys(OF_HYPERPARAMETERS, "hyperparameter"),
    "disagreement": "methods",
    "rate_range": "arm",
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
    def _is_complete(self) -> Self:
        """Check that it has one form, and no side that is compared with itself."""
        mistakes = [*self._mistakes_of_form(), *self._mistakes_of_values()]
        if mistakes:
            raise Mistakes(*mistakes)
        return self

    def _mistakes_of_form(self) -> Iterator[Mistake]:
        """Yield the keys that are missing, or that do not go together."""
        forms = [key for key in FORMS if getattr(self, key) is not None]
        if len(forms) != 1:
            yield "", f"{' and '.join(forms) or 'none'} given; expected {one_of(FORMS)}"
        parts = [key for key in PARTS if getattr(self, key)]
        if len(parts) > 1:
            yield "", f"{' and '.join(parts)} given; expected at most {one_of(PARTS)}"
        for key in parts:
            if not self.arm:
                yield key, "not allowed without arm"
        for key in ("against", "against_study"):
            if getattr(self, key) and not self.arm:
                yield key, "not allowed without arm"
            elif getattr(self, key) and parts:
                yield key, f"not allowed with {' and '.join(parts)}"

    def _mistakes_of_values(self) -> Iterator[Mistake]:
        """Yield the values by which a side is compared with itself, and pairs in a wrong order."""
        if self.search == "random":
            yield "search", 'invalid value "random"; every other method is compared with it'
        for key in ("passes", "members"):
            numbers = getattr(self, key)
            if numbers and numbers[0] >= numbers[1]:
                yield key, expectation(numbers, "two numbers in ascending order, as in [1, 12]")
        for key in ("levels", "methods"):
            names = getattr(self, key)
            if names and len({*names}) < len(names):
                yield key, expectation(names, "names that are all different")
        if self.arm and self.arm == self.against and not self.against_study:
            yield "against", expectation(self.against, "another arm than in arm")


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
    def _can_be_judged(self) -> Self:
        """Check that its values go together, and that data can support it and contradict it."""
        mistakes = [
            *self._mistakes_of_rule(),
            *self._mistakes_of_contrasts(),
            *self._mistakes_of_measure(),
            *self._mistakes_of_figures(),
        ]
        mistakes = mistakes or [*self._mistakes_of_outcome()]
        if mistakes:
            raise Mistakes(*mistakes)
        return self

    def _mistakes_of_rule(self) -> Iterator[Mistake]:
        """Yield the values that do not fit the rule."""
        with_rule = f"with rule {self.rule}"
        if self.expect not in FITTING[self.rule]:
            fitting = FITTING[self.rule]
            expected = one_of(fitting) if len(fitting) > 1 else fitting[0]
            yield "expect", expectation(self.expect, expected, with_rule)
        if self.rule == "identity" and self.measure not in COSTS:
            yield "measure", expectation(self.measure, one_of(COSTS), with_rule)
        if self.rule != "identity" and self.measure in COSTS:
            yield "rule", expectation(self.rule, "identity", f"with measure {self.measure}")
        if self.rule == "correlation" and self.measure != "gap":
            yield "measure", expectation(self.measure, "gap", with_rule)
        bounded = self.expect in BOUNDED and self.rule not in ("exact", "identity")
        has_margin = self.measure in FRACTIONS and self.rule != "correlation"
        if bounded and self.margin is None and not has_margin:
            yield "margin", f"missing; {self.measure} needs one if {self.expect} is expected"

    def _mistakes_of_contrasts(self) -> Iterator[Mistake]:
        """Yield the contrasts that the rule lacks or does not have."""
        for key, required in (
            ("contrast", self.rule != "correlation"),
            ("than", self.rule == "interaction"),
        ):
            given = getattr(self, key) is not None
            if required and not given:
                yield key, f"missing; rule {self.rule} needs it"
            elif given and not required:
                yield key, f"not allowed with rule {self.rule}"
        if self.than and self.than == self.contrast:
            yield "than", "the same as contrast; expected another contrast"
        if self.rule == "slope":
            if self.contrast and self.contrast.levels is None:
                yield "contrast.levels", "missing; rule slope needs it"
            return
        for key in ("contrast", "than"):
            contrast = getattr(self, key)
            if contrast and contrast.levels is not None:
                yield f"{key}.levels", f"not allowed with rule {self.rule}"

    def _mistakes_of_measure(self) -> Iterator[Mistake]:
        """Yield the contrasts that the measure does not fit."""
        for key in ("contrast", "than"):
            contrast = getattr(self, key)
            if contrast is None:
                continue
            for form, measures in MEASURES.items():
                if getattr(contrast, form) and self.measure not in measures:
                    yield "measure", expectation(self.measure, one_of(measures), f"with {form}")
            if contrast.levels and self.measure == "zeros":
                yield "measure", expectation(self.measure, "another one", "with levels")
            needed = NEEDED.get(self.measure)
            if needed and not getattr(contrast, needed):
                yield f"{key}.{needed}", f"missing; measure {self.measure} needs it"
            if self.measure == "rate_range" and contrast.passes:
                yield f"{key}.passes", "not allowed with measure rate_range"

    def _mistakes_of_figures(self) -> Iterator[Mistake]:
        """Yield figures of a paper without their setting, or that contradict the expectation."""
        if self.figures is None:
            return
        if self.setting is None:
            yield "setting", "missing; expected the setting of the figures"
        before, after = self.figures
        is_shown = {
            "lower": after < before,
            "higher": after > before,
            "not_lower": after >= before,
            "not_higher": after <= before,
            "equal": True,
        }
        if not is_shown[self.expect]:
            side = self.expect.replace("_", " ")
            yield "figures", expectation(self.figures, f"the second one {side} than the first")

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

    def _mistakes_of_outcome(self) -> Iterator[Mistake]:
        """Yield the values that leave only one outcome possible."""
        if self.alternative == self.id:
            yield "alternative", expectation(self.alternative, "another claim")
        if self.rule == "identity":
            return
        averages = self.measure in CONVEX and self.contrast and self.contrast.is_average_of_more
        if averages and self.rule in ("directional", "exact"):
            never_above = (
                "another measure: that of an average of more members is never above the mean of "
                "fewer (Jensen)"
            )
            yield "measure", expectation(self.measure, never_above)
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
            reach = f"a number from {low:g} to {high:g}"
            possible = f"{reach} that leaves both outcomes possible with this margin"
            yield "threshold", expectation(self.threshold, possible)


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
