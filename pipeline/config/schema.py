"""Models of the sections of protocols and studies."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.settings import Settings, Word


class Seeds(Settings):
    """How many seeds explore, and how many fresh ones confirm."""

    exploration: int = Field(3, ge=1, le=1000)
    confirmation: int = Field(15, ge=1)


class Ensemble(Settings):
    """How many groups of models are trained to be averaged: a group shares its training split, and nothing else."""

    groups: int = Field(ge=2)
    size: int = Field(ge=2, le=100)


class Variance(Settings):
    """How often each stream is drawn anew while the others stay: `draws` further seeds for each of `groups` seeds."""

    groups: int = Field(ge=2)
    draws: int = Field(ge=1, le=100)


class Published(Settings):
    """An effect that a paper reports, for a report to set beside the one it measures: their signs can be compared.

    `against`: an arm of the same study, or `study.arm`; null: what the arm is compared with. `figures`: before and after, as
    printed there, errors in percent. `passes`: of noise, few and many. `datasets`: those it speaks of; null: any, since it
    is about the method.
    """

    source: str = Field(pattern=r"\S")
    setting: str = Field(pattern=r"\S")  # network, data and whatever else the figures belong to
    arm: Word
    against: str | None = Field(None, pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
    measure: Literal["error", "training_cost", "passes", "crops"] = "error"
    effect: Literal["lower", "higher", "not_lower"]
    figures: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    passes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=20)], ...], Field(min_length=2, max_length=2)
    ] = (1, 12)  # predictions have 20
    datasets: tuple[Word, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _figures_show_the_effect(self) -> Self:
        before, after = self.figures or (0.0, 0.0)
        shown = {"lower": after < before, "higher": after > before, "not_lower": after >= before}
        if self.figures and not shown[self.effect]:
            raise ValueError(
                "an effect that its figures show: lower, higher or not_lower in the second than in the first"
            )
        return self

    @model_validator(mode="after")
    def _more_passes_come_second(self) -> Self:
        if self.passes[0] >= self.passes[1]:
            raise ValueError("passes: few, then more of them")
        return self
