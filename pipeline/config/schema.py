"""Define the sections of protocols and studies."""

import json
from itertools import pairwise
from math import isclose
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipeline.config.settings import Settings

Count = Annotated[int, Field(ge=1)]
Method = Literal["grid", "random", "sobol", "coarse_to_fine", "halving", "tpe"]  # of search
Design = Literal["random", "sobol"]  # methods whose trials do not depend on scores
FEWEST = 3  # seeds of a look: the spread of two differences says next to nothing


class Looks(Settings):
    """Growing numbers of seeds after each of which an arm may stop.

    Attributes:
        looks: The number of seeds that an arm has at each look.
        weights: The share of the level of 5 % that each look has; the shares sum to 1. null: equal
            shares.
    """

    looks: tuple[int, ...]
    weights: tuple[float, ...] | None = None

    @field_validator("looks")
    @classmethod
    def _looks_grow(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if len(looks) < 2 or looks[0] < FEWEST or any(b <= a for a, b in pairwise(looks)):
            raise ValueError(
                f"two or more growing numbers of seeds, the first >= {FEWEST}, as in [6, 12, 24]"
            )
        return looks

    @field_validator("weights")
    @classmethod
    def _weights_are_shares(
        cls, weights: tuple[float, ...] | None, info: ValidationInfo
    ) -> tuple[float, ...] | None:
        count = len(info.data.get("looks", weights or ()))
        if weights is not None and not _are_shares(weights, count):
            raise ValueError(f"{count} numbers > 0, one for each look, that sum to 1")
        return weights

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the weight of each look."""
        return self.weights or (1 / len(self.looks),) * len(self.looks)

    def seeds_of(self, look: int) -> slice:
        """Return the indices of the seeds that a look adds.

        Args:
            look: Its number, from 1.
        """
        return slice((0, *self.looks)[look - 1], self.looks[look - 1])


class Seeds(Settings):
    """The number of seeds of each phase.

    Attributes:
        exploration: The number of seeds on which settings are tried.
        confirmation: The number of fresh seeds from which all results come, or a mapping with
            `looks` and their `weights`.
    """

    exploration: int = Field(3, ge=1, le=997)
    confirmation: Count | Looks = 15

    @field_validator("confirmation", mode="wrap")
    @classmethod
    def _number_or_looks(cls, value: Any, _handler: Any) -> Any:
        """Check the value as what it is, so that an error names one of both alone."""
        if isinstance(value, Looks):
            return value
        if isinstance(value, dict):
            return Looks.model_validate_json(json.dumps(value))
        if type(value) is not int or value < 1:
            raise ValueError("an integer >= 1, or looks as in {looks: [6, 12, 24]}")
        return value

    @property
    def looks(self) -> Looks:
        """Return the looks of confirmation: a plain number of seeds has one, of weight 1."""
        if isinstance(self.confirmation, Looks):
            return self.confirmation
        return Looks.model_construct(looks=(self.confirmation,), weights=(1.0,))


def _are_shares(weights: tuple[float, ...], count: int) -> bool:
    positive = all(weight > 0 for weight in weights)
    return len(weights) == count and positive and isclose(sum(weights), 1, abs_tol=1e-6)


class Ensemble(Settings):
    """Groups of models to train and average; the models of a group share the split alone.

    Attributes:
        groups: The number of groups.
        size: The number of models in each.
    """

    groups: int = Field(ge=2)
    size: int = Field(ge=2, le=100)


class Variance(Settings):
    """Draws that change each stream alone.

    Attributes:
        groups: The number of base seeds.
        draws: How many times each stream is redrawn with another seed, for each base seed.
    """

    groups: int = Field(ge=2)
    draws: int = Field(ge=1, le=100)


class Replay(Settings):
    """Searches that are replayed on the runs of one design, without training more.

    Attributes:
        methods: The methods of search that are compared.
        trials: The number of settings that each search tries.
        replays: The number of searches of each method that are replayed.
        seeds: The number of seeds on which every setting of a design is trained.
    """

    methods: tuple[Method, ...] = Field(min_length=1)
    trials: int = Field(ge=2, le=1000)
    replays: int = Field(1000, ge=100, le=100_000)
    seeds: Count = 1

    @field_validator("methods")
    @classmethod
    def _methods_differ(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if len(set(methods)) < len(methods):
            raise ValueError("each method once")
        return methods

    @field_validator("trials")
    @classmethod
    def _sobol_has_a_power_of_two(cls, trials: int, info: ValidationInfo) -> int:
        if "sobol" in info.data.get("methods", ()) and trials & (trials - 1):
            raise ValueError("a power of 2 for sobol, such as 32")
        return trials
