"""Define the interface of a regularizer: its settings, what it declares, and the hooks of a run."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pipeline.config.families import Family
from pipeline.config.settings import Settings
from pipeline.config.streams import derive
from pipeline.config.test_rules import DETERMINISTIC, TestRule
from pipeline.regularizers._audit import AuditInputs, Groups, Measures
from pipeline.regularizers._callback import TrainingCallback
from pipeline.runtime.errors import Refusal


class Regularizer(Settings, ABC):
    """Settings and hooks of a regularizer; one concrete class per file of this folder.

    The hooks are `modify_model`, `modify_optimizer`, `modify_batch`, `callbacks` and `audit`,
    called in this order. All but the audit are neutral by default.

    Attributes:
        name: The name in YAML, which is the name of the file.
        family: What it acts on, by which figures color arms.
        needs: What `sites` looks for in a network, for the error message if there is none.
        also_called: Its names in other libraries, for the error message for an unknown name.
        clashes: Regularizers that make no sense together with this one, each with the reason.
        needs_step_length: Whether it needs to know how far one step follows the gradient, so that
            the optimizer has to have one step length for all weights.
        off: Values of settings that leave no effect, whatever the other settings; None if there
            are none.
        activity: The measure of its audit that is 0 in a run in which it validly did nothing, as
            early stopping that never stopped; None if it changes the weights of every run. A run
            in which it acted and whose weights are those of its reference fails.
    """

    name: ClassVar[str]
    family: ClassVar[Family] = "other"
    needs: ClassVar[str] = "module"
    also_called: ClassVar[tuple[str, ...]] = ()
    clashes: ClassVar[Mapping[str, str]] = {}
    needs_step_length: ClassVar[bool] = False
    off: ClassVar[Mapping[str, Any] | None] = None
    activity: ClassVar[str | None] = None

    @classmethod
    def neutral(cls) -> Self | None:
        """Return settings without any effect, or None if there are none."""
        return None if cls.off is None else cls(**cls.off)

    def is_neutral(self) -> bool:
        """Return whether these settings have no effect, however they are written."""
        off = type(self).off
        return off is not None and all(getattr(self, key) == off[key] for key in off)

    @property
    def test_rule(self) -> TestRule:
        """Return the members averaged at test, declared before data are seen."""
        return DETERMINISTIC

    @property
    def augments(self) -> bool:
        """Return whether this regularizer changes batches."""
        return type(self).modify_batch is not Regularizer.modify_batch

    @property
    def flips(self) -> bool:
        """Return whether it shows mirror images, whose label is another one in some datasets."""
        return False

    def other_forms(self, network: nn.Module) -> dict[str, Self]:
        """Return settings with another deterministic form on a network, by the name of the form.

        `predict` evaluates the trained weights with each of them; they carry no verdict. A form
        that cannot act on the network is left out.

        Args:
            network: The network with its trained weights, which is left unchanged.
        """
        return {}

    def sites(self, network: nn.Module) -> Sequence[Any]:
        """Return the modules or weights of a plain network on which these settings act.

        The network as a whole by default. An empty sequence: they cannot act on this network.

        Args:
            network: The plain network, which is left unchanged.
        """
        return [("", network)]

    def require_sites(self, network: nn.Module) -> Sequence[Any]:
        """Return `sites`, of which there must be at least one.

        Args:
            network: The network, before this regularizer changes it.

        Raises:
            Refusal: There is none.
        """
        sites = self.sites(network)
        if not sites:
            raise Refusal(f"{self.name}: the network has no {self.needs}")
        return sites

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return plain values that are equal for settings which train the same network.

        Args:
            network: The plain network, which is left unchanged.
            shape: (channels, height, width) of the images.

        Raises:
            Refusal: These settings cannot act on the network.
        """
        return self.model_dump(mode="json")

    def modify_model(self, network: nn.Module) -> None:
        """Place noise layers in the network and leave its weights unchanged.

        By default only check that there are sites.

        Args:
            network: The network, which is changed in place.

        Raises:
            Refusal: There is no site.
        """
        self.require_sites(network)

    def modify_optimizer(self, groups: Groups) -> Groups:
        """Return the optimizer's parameter groups as this regularizer changes them.

        Args:
            groups: The parameter groups of torch: the weights first, all other parameters second.
        """
        return groups

    def modify_batch(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a training batch as this regularizer changes it.

        Args:
            inputs: Images (examples, channels, height, width) in [0, 1], before standardization.
            targets: Distributions over classes (examples, classes).
            generator: The source of all draws, on the CPU, seeded for this batch and regularizer.

        Returns:
            Inputs and targets of the same shapes and ranges.
        """
        return inputs, targets

    def callbacks(self) -> list[TrainingCallback]:
        """Return new callbacks for one run."""
        return []

    @abstractmethod
    def audit(self, inputs: AuditInputs) -> Measures:
        """Return measures of what happened in training, at least one.

        Args:
            inputs: The network and its layers after training, and what callbacks have counted.

        Raises:
            NoEffect: An effect was expected and did not happen.
        """


def batch_generator(name: str, seed: int, *place: str | int) -> torch.Generator:
    """Return the generator for one call of a regularizer's `modify_batch`.

    Args:
        name: The regularizer's, so that none moves the draws of another.
        seed: That of the augmentation stream.
        place: Epoch and batch (and the rank of a device but the first), or "view" and its number.
    """
    return torch.Generator().manual_seed(derive(seed, "augmentation", name, *place))
