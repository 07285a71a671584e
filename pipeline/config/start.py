"""Define the start of a run: fresh weights, or those of another run, and what of them is trained.

A protocol names its pretrainings, and `start` says from which of them runs begin. One training
changes the same weights from its first update to its last: `head_then_all` is a run that starts
from the run of its first phase.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.settings import Settings, Word

Trained = Literal["all", "head", "last_k"]


class Rates(Settings):
    """Learning rates by depth, as multiples of `training.learning_rate`.

    Attributes:
        trunk: The factor of the learning rate for every layer below the head.
        decay: The factor from each layer to the next one below: the layer d layers below the head
            has trunk * decay ** d. Howard and Ruder, Universal Language Model Fine-tuning for Text
            Classification, ACL 2018, use 1 / 2.6.
        head: The factor for the head in the first phase of head_then_all.
    """

    trunk: float = Field(1.0, gt=0)
    decay: float = Field(1.0, gt=0, le=1)
    head: float = Field(1.0, gt=0)


class RunStart(Settings):
    """What one training does with the weights that it starts from.

    Attributes:
        train: all: every weight; head: the last layer alone; last_k: the last `k` layers.
        k: The number of layers that last_k trains, the head among them.
        trunk: The multiple of the learning rate of the layers below the head.
        decay: What each further layer below multiplies it by.
        reinitialize: The number of layers below the head that keep their random initial weights.
        norm: frozen: batch norms of frozen layers keep their statistics; adapted: they update them.
        head: fresh: random initial weights; kept: those of the run that this one starts from.
    """

    train: Trained = "all"
    k: int | None = Field(None, ge=1)
    trunk: float = Field(1.0, gt=0)
    decay: float = Field(1.0, gt=0, le=1)
    reinitialize: int = Field(0, ge=0)
    norm: Literal["frozen", "adapted"] = "frozen"
    head: Literal["fresh", "kept"] = "fresh"


class Start(Settings):
    """The section `start` of a protocol: which weights a run begins with, and what is trained.

    Attributes:
        source: The name of a pretraining of the protocol; null: random initial weights, or those of
            `model.weights`.
        train: all: every weight (fine-tuning); head: the last layer alone (a linear probe);
            head_then_all: first the head, then everything; last_k: the last `k` layers.
        k: The number of layers that last_k trains, the head among them.
        head_share: The share of the epochs that the first phase of head_then_all takes.
        rates: Learning rates by depth.
        reinitialize: The number of layers below the head that keep their random initial weights.
        norm: frozen: batch norms of frozen layers keep their statistics; adapted: they update them.
    """

    source: Word | None = Field(None, alias="from")
    train: Literal["all", "head", "head_then_all", "last_k"] = "all"
    k: int | None = Field(None, ge=1)
    head_share: float = Field(0.5, gt=0, le=1)
    rates: Rates = Rates()
    reinitialize: int = Field(0, ge=0)
    norm: Literal["frozen", "adapted"] = "frozen"

    @model_validator(mode="after")
    def _last_k_has_a_number(self) -> Self:
        if (self.train == "last_k") != (self.k is not None):
            raise ValueError("k with train: last_k, and with no other")
        return self

    @property
    def is_fresh(self) -> bool:
        """Return whether nothing differs from a run with random initial weights."""
        return self == Start()

    def effect(self) -> dict[str, Any]:
        """Return plain values that are equal for starts which train the same network."""
        run = self.run_start()
        values = {"from": self.source, **run.model_dump(mode="json")}
        if self.train == "head_then_all":
            shares = {"head_share": self.head_share, "head_rate": self.rates.head}
            values |= {"reinitialize": self.reinitialize, **shares}
        if self.train in ("head", "last_k") and (self.k or 1) == 1:
            values |= {"train": "head", "k": None, "trunk": 1.0, "decay": 1.0}
        if self.train == "all":
            values["norm"] = "frozen"
        return values

    def run_start(self) -> RunStart:
        """Return what the last phase of the training does."""
        two_phases = self.train == "head_then_all"
        return RunStart(
            train="all" if two_phases else self.train,  # type: ignore[arg-type]
            k=self.k,
            trunk=self.rates.trunk,
            decay=self.rates.decay,
            reinitialize=0 if two_phases else self.reinitialize,
            norm=self.norm,
            head="kept" if two_phases else "fresh",
        )
