"""Define test rules: which members of a network are averaged at test."""

from typing import ClassVar

from pydantic import Field

from pipeline.config.settings import Settings


class TestRule(Settings):
    """The members of one kind that are averaged, by the arithmetic mean of their probabilities.

    Attributes:
        view: The kind of member: deterministic, noise, draws (augmented views), crops, snapshots,
            raw, or another deterministic form that a regularizer offers, such as moments.
        members: Their number.
    """

    __test__: ClassVar[bool] = False  # the name begins as those of tests do

    view: str = "deterministic"
    members: int = Field(1, ge=1)


DETERMINISTIC = TestRule()
NOISE = TestRule(view="noise", members=12)
