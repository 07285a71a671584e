"""Define the sections of protocols and studies."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.settings import Settings, Word

Pass = Annotated[int, Field(ge=1, le=20)]  # number of a noise pass


class Seeds(Settings):
    """The number of seeds of each phase.

    Attributes:
        exploration: Seeds on which settings are tried.
        confirmation: Fresh seeds, from which all results come.
    """

    exploration: int = Field(3, ge=1, le=997)
    confirmation: int = Field(15, ge=1)


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
        groups: The number of seeds from which draws start.
        draws: The number of further seeds of a stream for each of them.
    """

    groups: int = Field(ge=2)
    draws: int = Field(ge=1, le=100)


class Published(Settings):
    """An effect that a paper reports, for a report to show next to the one it measures.

    Attributes:
        source: The paper, with its table or figure.
        setting: Network, data and whatever else the figures belong to.
        against: An arm of this study, or of `against_study`; null: what the arm is compared with.
        against_study: Another study that is run too; null: this one.
        arm: The arm that the paper speaks of.
        measure: What the figures are: test error, counted training cost, or the test error of few
            and many noise passes, or of one and several crops.
        effect: The second figure against the first.
        figures: Before and after, as printed in the paper; errors in percent.
        passes: Numbers of noise passes, few and many; predictions have 20.
        datasets: Those the paper speaks of; null: any, since it is about the method.
    """

    source: str = Field(pattern=r"\S")
    setting: str = Field(pattern=r"\S")
    arm: Word
    against: Word | None = None
    against_study: Word | None = None
    measure: Literal["error", "training_cost", "passes", "crops"] = "error"
    effect: Literal["lower", "higher", "not_lower"]
    figures: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    passes: Annotated[tuple[Pass, ...], Field(min_length=2, max_length=2)] = (1, 12)
    datasets: tuple[Word, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _figures_show_the_effect(self) -> Self:
        before, after = self.figures or (0.0, 0.0)
        shown = {"lower": after < before, "higher": after > before, "not_lower": after >= before}
        if self.figures and not shown[self.effect]:
            raise ValueError(
                "an effect that its figures show: "
                "lower, higher or not_lower, the second against the first"
            )
        return self

    @model_validator(mode="after")
    def _more_passes_come_second(self) -> Self:
        if self.passes[0] >= self.passes[1]:
            raise ValueError("passes in ascending order, as in [1, 12]")
        return self
